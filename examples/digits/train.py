"""Train a small network on 2,400 distorted digits, epoch by epoch, with numpy alone.

Run by hand (`python train.py`), the script uses its defaults; in a trial, it reads its parameters and reports results.
"""

import numpy as np

import trialdeck

EPOCHS = 15
DEFAULTS = {"learning_rate": 0.001, "hidden": 64, "alpha": 0.0001, "activation": "relu", "batch_size": 64}
# Each digit is 5 pixels wide and 7 high; a row of pixels is a number from 0 to 31.
DIGITS = [
    [14, 17, 19, 21, 25, 17, 14],
    [4, 12, 4, 4, 4, 4, 14],
    [14, 17, 1, 2, 4, 8, 31],
    [31, 2, 4, 2, 1, 17, 14],
    [2, 6, 10, 18, 31, 2, 2],
    [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14],
    [31, 1, 2, 4, 8, 8, 8],
    [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
]


def images(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return images (count × 64 pixels) and their digits: moved, slanted, of uneven strength, and noisy."""
    glyphs = np.array(DIGITS)[:, :, None] >> np.arange(4, -1, -1) & 1
    labels = random.integers(10, size=count)
    canvas = np.zeros((count, 8, 8))
    for image, label in zip(canvas, labels, strict=True):
        top, left, slant = random.integers([0, 1, -1], [2, 3, 2])
        for row, pixels in enumerate(glyphs[label]):
            start = left + round(slant * (3 - row) / 3)
            image[top + row, start : start + 5] = pixels
    strength = random.uniform(0.6, 1, size=(count, 1, 1))
    return (canvas * strength + random.normal(0, 0.2, canvas.shape)).reshape(count, -1), labels


def activate(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the activation of x, and its derivative."""
    if name == "relu":
        return np.maximum(x, 0), (x > 0).astype(float)
    value = np.tanh(x) if name == "tanh" else 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return value, 1 - value**2 if name == "tanh" else value * (1 - value)


def forward(weights: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the hidden layer, its derivative, and the probability of each digit."""
    hidden, slope = activate(params["activation"], x @ weights[0] + weights[1])
    scores = hidden @ weights[2] + weights[3]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, slope, scores / scores.sum(axis=1, keepdims=True)


params = {**DEFAULTS, **trialdeck.get_next_parameter()}
print("parameters:", params)

random = np.random.default_rng(0)
(train_x, train_y), (test_x, test_y) = images(1800, random), images(600, random)
size, batch = int(params["hidden"]), int(params["batch_size"])
weights = [
    random.normal(0, 0.1, (train_x.shape[1], size)),
    np.zeros(size),
    random.normal(0, 0.1, (size, 10)),
    np.zeros(10),
]
means, squares = [0.0 * w for w in weights], [0.0 * w for w in weights]
step, accuracy = 0, 0.0
for epoch in range(1, EPOCHS + 1):
    losses = []
    order = random.permutation(len(train_x))
    for start in range(0, len(order), batch):
        x, y = train_x[order[start : start + batch]], train_y[order[start : start + batch]]
        hidden, slope, probability = forward(weights, x)
        losses.append(-np.log(probability[range(len(y)), y] + 1e-12).mean())
        error = (probability - np.eye(10)[y]) / len(y)
        back = error @ weights[2].T * slope
        gradients = [
            x.T @ back + params["alpha"] * weights[0],
            back.sum(axis=0),
            hidden.T @ error + params["alpha"] * weights[2],
            error.sum(axis=0),
        ]
        step += 1
        for w, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):  # Adam
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            w -= (
                params["learning_rate"]
                * (mean / (1 - 0.9**step))
                / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            )
    accuracy = float((forward(weights, test_x)[2].argmax(axis=1) == test_y).mean())
    loss = float(np.mean(losses))
    print(f"epoch {epoch:2} of {EPOCHS}: loss {loss:.4f}, accuracy {accuracy:.4f}", flush=True)
    trialdeck.report_intermediate_result({"default": accuracy, "loss": loss})
trialdeck.report_final_result(accuracy)
