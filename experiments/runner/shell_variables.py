"""The variables of a worker's environment that its trials inherit: those of a user's shell.

Everything else stays with the worker: make's variables (MAKEFLAGS would change what `make clean` in a trial removes),
Django's, Celery's and the console's own, and secrets that were meant for the worker.
"""

import fnmatch
from collections.abc import Mapping
from functools import lru_cache

ALSO = "TRIALDECK_TRIAL_ENV"  # of a worker: names of further variables, separated by spaces or commas; * at the end

SHELL_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "COLORTERM",
    "MAIL", "HOSTNAME",
    "TMPDIR", "TMP", "TEMP", "XDG_*", "DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK", "KRB5CCNAME",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH", "MANPATH",
    "MODULEPATH", "MODULESHOME", "LOADEDMODULES", "LMOD_*",
    "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYENV_*",
    "VIRTUAL_ENV", "CONDA_*", "_CE_*", "MAMBA_*",
    "PIP_*", "UV_*", "JAVA_HOME", "R_HOME", "R_LIBS*", "JULIA_*", "GOPATH", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR",
    "CUDA_*", "CUDNN_*", "NVIDIA_*", "NCCL_*", "ROCM_*", "ROCR_*", "HIP_*", "HSA_*", "GPU_DEVICE_ORDINAL",
    "OMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "NUMEXPR_*", "VECLIB_*",
    "TORCH_*", "PYTORCH_*", "TF_*", "XLA_*", "JAX_*", "HF_HOME", "HF_HUB_*", "HF_DATASETS_*", "TRANSFORMERS_*",
    "MPLBACKEND", "MPLCONFIGDIR",
)  # fmt: skip


def inherited(worker: Mapping[str, str]) -> dict[str, str]:
    """Return what a trial inherits from its worker's environment: `SHELL_VARIABLES`, and the variables named in the
    worker's `TRIALDECK_TRIAL_ENV`."""
    also = worker.get(ALSO, "")
    return {name: value for name, value in worker.items() if _is_inherited(name, also)}


@lru_cache(maxsize=1000)
def _is_inherited(name: str, also: str) -> bool:
    patterns = (*SHELL_VARIABLES, *also.replace(",", " ").split())
    is_ours = name.startswith("TRIALDECK_")
    return not is_ours and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
