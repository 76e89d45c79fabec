"""Croissant 1.0 metadata (MLCommons) of a published dataset."""

import pandas as pd

PAPER = "S-QUBED, arXiv 2510.02571"

TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
CONTEXT = {term: f"cr:{term}" for term in TERMS} | {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
"""The context of the specification."""


def croissant(about: dict, rows: pd.DataFrame, sha256: str) -> dict:
    """Return MLCommons Croissant 1.0 metadata (JSON-LD) of the table of videos.

    Parameters
    ----------
    about : dict
        As `card.describe`.
    rows : DataFrame
        As `publish.metadata`.
    sha256 : str
        Of ``metadata.parquet``.
    """
    table = {
        "@type": "cr:FileObject",
        "@id": "metadata.parquet",
        "name": "metadata.parquet",
        "contentUrl": "metadata.parquet",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": about["name"],
        "description": f"{about['videos']} generated videos of {about['tasks']} tasks, with "
        "prompts, references, seeds, embeddings and accuracies",
        "citeAs": PAPER,
        "version": "1.0.0",
        "distribution": [table],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "videos",
                "name": "videos",
                "field": [_field(name, rows[name]) for name in rows],
            }
        ],
    }


def _field(name: str, column: pd.Series) -> dict:
    embedding = name.endswith("_embedding")
    kind = "f" if embedding else column.dtype.kind
    types = {"f": "sc:Float", "i": "sc:Integer"}
    field = {
        "@type": "cr:Field",
        "@id": f"videos/{name}",
        "name": name,
        "dataType": types.get(kind, "sc:Text"),
        "source": {"fileObject": {"@id": "metadata.parquet"}, "extract": {"column": name}},
    }
    return field | ({"repeated": True} if embedding else {})
