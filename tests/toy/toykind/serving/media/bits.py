"""Lines of bits are rows like any others."""

from synthmill.serving.media.base import Media


class BitsMedia(Media):
    """Rows."""

    modality = "bits"
    noun = "lines of bits"
