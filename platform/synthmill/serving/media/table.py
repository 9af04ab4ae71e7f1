"""Tables: rows are all there is to them, so every form of rows and no route of their own."""

from synthmill.serving.media.base import Media


class TableMedia(Media):
    """Rows."""

    modality = "table"
    noun = "tables"
