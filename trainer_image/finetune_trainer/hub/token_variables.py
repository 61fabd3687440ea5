"""Environment variables that hold a Hub token, or lead to one."""

from finetune_api import keys

TOKEN_VARIABLES = frozenset(
    {
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_OIDC_RESOURCE",
        "HF_OIDC_ID_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
        keys.ENV_READ_TOKEN_FILE,
        keys.ENV_WRITE_TOKEN_FILE,
    }
)
