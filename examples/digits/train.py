"""Trains a small network on the 1,797 handwritten digits that come with scikit-learn, epoch by epoch.

Run it by hand (`python train.py`) and it uses its defaults; run by Trialdeck it asks for parameters and reports.
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
    warnings.simplefilter("ignore")  # one epoch at a time has never converged
    for epoch in range(1, EPOCHS + 1):
        model.fit(train_x, train_y)
        accuracy = float(model.score(test_x, test_y))
        print(f"epoch {epoch:2} of {EPOCHS}: loss {model.loss_:.4f}, accuracy {accuracy:.4f}", flush=True)
        trialdeck.report_intermediate_result({"default": accuracy, "loss": float(model.loss_)})
trialdeck.report_final_result(accuracy)
