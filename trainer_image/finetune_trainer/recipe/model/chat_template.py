"""Chat templates of vision-language models, which know users and assistants but not the queries and documents of pairs.

The library hands a pair over as one message with the role query and one with the role document.
"""

import re

from sentence_transformers import CrossEncoder
from sentence_transformers.base.modality import InputFormatter

_IS_USER = re.compile(r"""(\bmessage(?:\.role|\[(['"])role\2\]))\s*==\s*(['"])user\3""")
_MAY_ASK = r"""\1 in ["user", "query", "document"]"""


def let_pairs_through(model: CrossEncoder) -> None:
    """Let the template render queries and documents like the words of a user, where it would leave them out.

    The template is saved with the model. One that is written in another way stays as it is: see `pair_failure`.
    """
    formatter = formatter_of(model)
    if formatter is None or pair_failure(model) is None:
        return
    processor, before = formatter.processor, formatter.processor.chat_template
    if not isinstance(before, str):
        return
    processor.chat_template = _IS_USER.sub(_MAY_ASK, before)
    if pair_failure(model) is not None:
        processor.chat_template = before


def pair_failure(model: CrossEncoder) -> str | None:
    """Return why pairs do not get through the model's chat template, None if they do or it needs none."""
    formatter = formatter_of(model)
    failure: str | None = formatter.pair_roles_failure() if formatter is not None else None
    return failure


def formatter_of(model: CrossEncoder) -> InputFormatter | None:
    """Return what renders the model's inputs as messages, None if it takes them plainly."""
    return model[0].input_formatter if "message" in model.modalities else None
