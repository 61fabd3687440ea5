"""The one base model of the contract: camelCase outside, snake_case inside, frozen, no unknown fields."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Contract(BaseModel):
    """A value that crosses a border: manifest, ConfigMap, termination message or HTTP answer."""

    model_config = ConfigDict(
        defer_build=True,  # most commands need few of them, and building takes longer than all else that they do
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
