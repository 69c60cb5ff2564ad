"""Parts that every kind's status shares."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from backstay.api.base import Model


class Condition(Model):
    """One aspect of an object's state (Kubernetes API conventions, metav1.Condition)."""

    type: str = Field(max_length=316, description="Which aspect, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int = Field(default=0, description="The metadata.generation that this speaks of.")
    last_transition_time: datetime = Field(description="When status last changed.")
    reason: str = Field(max_length=1024, description="Why, as one CamelCase word for programs.")
    message: str = Field(default="", max_length=32768, description="Why, in words for people.")
