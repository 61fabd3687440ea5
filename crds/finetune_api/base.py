"""The one base model of the contract: camelCase outside, snake_case inside, frozen, no unknown fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from finetune_api import docstrings


class Contract(BaseModel):
    """A value that crosses a border: manifest, ConfigMap, termination message or HTTP answer."""

    model_config = ConfigDict(
        defer_build=True,  # most commands need few of them, and building takes longer than all else that they do
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe fields by the texts under them.

        pydantic's `use_attribute_docstrings` does so whenever a class is made, which made every start longer.
        """
        schema = handler(core_schema)
        texts = docstrings.of_attributes(cls)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            if name in texts:
                properties[field.serialization_alias or field.alias or name].setdefault("description", texts[name])
        return schema
