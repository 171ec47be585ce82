"""Results of the tools, parts of the service's responses; titles and categories are text of the catalogue."""

from typing import Self

from pydantic import BaseModel, Field

from deftrec.serving import schemas


class CatalogueItem(BaseModel):
    """An item of the catalogue."""

    item_id: str = Field(description="id, which the tools take")
    title: str = Field(description="text of the catalogue; the id if the item has no title")
    categories: list[str]

    @classmethod
    def of(cls, found: schemas.Item) -> Self:
        """Take the fields of an item of the service."""
        return cls.model_validate(found.model_dump())


class RankedItem(CatalogueItem):
    """A recommended or similar item."""

    rank: int = Field(description="from 1, the best")


class RecommendedItem(RankedItem):
    """A recommended item with its reasons."""

    explanation: schemas.ItemExplanation | None = Field(description="null without explain, or without a history")
    rules: list[str] = Field(description="what rules did to the item, with explain")


class ExplainedItem(CatalogueItem):
    """An item with its reasons."""

    explanation: schemas.ItemExplanation


class FoundItems(BaseModel):
    """Items that a search found."""

    items: list[CatalogueItem]


class SimilarItems(BaseModel):
    """Items similar to another one, the most similar first."""

    items: list[RankedItem]


class RecommendationList(BaseModel):
    """Recommended items, best first."""

    items: list[RecommendedItem]
    understood: list[str] = Field(description="how the request in words was read, a line for each part")
    notes: list[str] = Field(description="remarks on the list, such as why it is shorter than k")


class History(BaseModel):
    """What a user interacted with lately."""

    items: list[CatalogueItem] = Field(description="newest first")
    length: int = Field(description="number of items in the whole history; 0 for an unknown user")
