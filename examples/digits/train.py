"""Train a small network on the 1,797 handwritten digits of scikit-learn, epoch by epoch.

Run by hand (`python train.py`), the script uses its defaults; in a trial, it reads its parameters and reports results.
"""

import warnings

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import trialdeck

EPOCHS = 15
DEFAULTS = {"learning_rate": 0.001, "hidden": 64, "alpha": 0.0001, "activation": "relu", "batch_size": 64}

params = {**DEFAULTS, **trialdeck.get_next_parameter()}
print("parameters:", params)

digits = load_digits()
train_x, test_x, train_y, test_y = train_test_split(
    digits.data, digits.target, test_size=0.25, random_state=0, stratify=digits.target
)
scaler = StandardScaler().fit(train_x)
train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)

model = MLPClassifier(
    hidden_layer_sizes=(int(params["hidden"]),),
    learning_rate_init=params["learning_rate"],
    alpha=params["alpha"],
    activation=params["activation"],
    batch_size=int(params["batch_size"]),
    max_iter=1,
    warm_start=True,
    random_state=0,
)
accuracy = 0.0
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a single epoch never converges
    for epoch in range(1, EPOCHS + 1):
        model.fit(train_x, train_y)
        accuracy = float(model.score(test_x, test_y))
        print(f"epoch {epoch:2} of {EPOCHS}: loss {model.loss_:.4f}, accuracy {accuracy:.4f}", flush=True)
        trialdeck.report_intermediate_result({"default": accuracy, "loss": float(model.loss_)})
trialdeck.report_final_result(accuracy)
