"""Faults of the platform in the words of drivers, libraries and kernels: accelerators, their driver, storage."""

import re

from finetune_trainer.workspace.causes import STORAGE_FAULT_ERRNOS

#: What the driver and libraries say when an accelerator fails, is gone, or is reset below a process. A kernel of theirs
#: that reads beyond its memory looks the same: training runs none of the user's own. An assertion in one does not: that
#: tells of indices.
# https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html (enum cudaError)
NODE_FAULT_TEXT = re.compile(
    r"\buncorrectable (ECC|NVLink) error|\bunspecified launch failure|\billegal memory access was encountered|"
    r"\bhardware stack error|\billegal instruction was encountered|\bmisaligned address|"
    r"\bor a hardware error\b|\blaunch timed out and was terminated|\bno CUDA-capable device|"
    r"\bdevices are busy or unavailable|\bsystem not yet initialized|\bunsupported display driver|"
    r"\b(CUDA|HIP) (error: )?(unknown error|initialization error)|\bfound no NVIDIA driver|"
    r"\bdriver/library version mismatch|\bdriver version is insufficient|\bGPU is lost|\bfallen off the bus|\bXid\b|"
    r"\bCU(BLAS|DNN)_STATUS_EXECUTION_FAILED",
    re.IGNORECASE,
)
STORAGE_FAULT_TEXT = re.compile(
    r"\binput/output error|\bstale (NFS )?file handle|\bremote I/O error|"
    rf"\bos error ({'|'.join(str(number) for number in STORAGE_FAULT_ERRNOS)})\b",
    re.IGNORECASE,
)


def is_node_fault(error: BaseException) -> bool:
    """Return whether an accelerator or its driver failed."""
    return isinstance(error, RuntimeError) and bool(NODE_FAULT_TEXT.search(str(error)))


def is_storage_fault(error: BaseException) -> bool:
    """Return whether a volume failed to read or write, or is not there any more."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in STORAGE_FAULT_ERRNOS
    return bool(STORAGE_FAULT_TEXT.search(str(error)))
