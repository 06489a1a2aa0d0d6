"""What the service answers, with units and order; FastAPI renders these into ``/openapi.json``."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Box = Annotated[
    list[float],
    Field(
        min_length=4,
        max_length=4,
        description="[left, top, right, bottom] in the image's pixels, 0-based, right and bottom excluded.",
    ),
]
Window = Annotated[
    list[int],
    Field(min_length=4, max_length=4, description="[left, top, right, bottom] in cells of the map, ends excluded."),
]
Stages = Annotated[
    dict[str, float],
    Field(
        description="Seconds of each stage in the order of the work: upload, waiting, reading, scaling, network, "
        "then those of the answer."
    ),
]
Height = Annotated[int, Field(ge=1, description="Pixels, after the image's EXIF orientation.")]


class Contribution(BaseModel):
    """What each bin of the scored window's pyramid adds: score = bias + sum of bins."""

    window: Window
    levels: list[int] = Field(description="Bins per side of each level, in the order of the bins.")
    bins: list[float] = Field(description="What each bin adds, level by level and row by row in it.")
    boxes: list[Box] = Field(description="Where each bin lies on the image, in the same order.")
    bias: float = Field(description="The class's constant.")


class Detection(BaseModel):
    """One object that was found."""

    class_: str = Field(alias="class")
    confidence: float = Field(ge=0, le=1, description="The probability that the detection is right.")
    score: float | None = Field(
        None, description="Signed distance to the class's separating plane, which confidence follows; not of an export."
    )
    box: Box
    contribution: Contribution | None = Field(
        None, description="Only with explain=true, and of models whose scores are of one window."
    )


class DetectAnswer(BaseModel):
    """The objects of one image, the most certain first."""

    model: str
    height: Height
    width: Height
    counts: dict[str, int] = Field(description="How many of each class are listed.")
    detections: list[Detection]
    seconds: Stages


class ScoredClass(BaseModel):
    """One class and its score."""

    class_: str = Field(alias="class")
    score: float = Field(description="The probability; those of all classes sum to 1.")
    contribution: Contribution | None = Field(None, description="Only with explain=true. It adds up to the logit.")


class ClassifyAnswer(BaseModel):
    """The best classes of one image, the best first; classes without training images are never listed."""

    model: str
    height: Height
    width: Height
    label: str = Field(description="The best class, or 'none of these' where its probability is below the threshold.")
    best: list[ScoredClass]
    seconds: Stages


class RowPart(BaseModel):
    """What one feature map adds to a row: its channels for each bin, level by level and row by row in it."""

    levels: list[int] = Field(description="Bins per side of each level.")
    channels: int


class FeaturesAnswer(BaseModel):
    """Pooled features, a row a box, in the order of the boxes."""

    model: str
    height: Height
    width: Height
    parts: list[RowPart] = Field(description="What a row holds, one after the other.")
    boxes: list[Box] = Field(description="As used: cut to the image.")
    features: list[list[float]]
    seconds: Stages


class ModelFacts(BaseModel):
    """One model that is served."""

    name: str
    kind: Literal["detector", "classifier"]
    classes: list[str]
    untrained: list[str] = Field(description="Classes without training examples, which are never found.")
    thresholds: list[float] = Field(
        description="Of a detector, the least confidence of each class that is shown where none is asked for; "
        "of a classifier one, the least probability of the best class."
    )
    levels: list[int] = Field(description="Bins per side of each level of its pyramid.")
    exported: bool = Field(
        description="Whether it is an export: then it has neither features nor explanations nor scores of detections, "
        "and no threshold below the highest of its own."
    )
    sha256: str = Field(description="Of the model's file, as it was when the service started.")
    date: str = Field(description="When that file was written, ISO 8601, UTC.")


class LimitFacts(BaseModel):
    """What one request may ask for."""

    upload_bytes: int
    pixels: int
    aspect: int = Field(description="The longer side over the shorter side.")
    boxes: int
    values: int = Field(description="Floats of one answer to /v1/features; in JSON json_values.")
    json_values: int


class ModelAnswer(BaseModel):
    """What is served: `detect` and `classify` use the first model of their kind unless one is named."""

    version: str
    models: list[ModelFacts]
    limits: LimitFacts


class Health(BaseModel):
    """Whether images can be answered."""

    status: Literal["ok"]
    workers: int = Field(description="Processes that compute.")
    busy: int = Field(description="Of them, at work now.")
    waiting: int = Field(description="Requests that wait for one.")
