"""The AI-generated label inside an image: one XMP packet with the IPTC source type and the AIGC label of GB
45438-2025.

One packet and nothing else, because a file may carry only one AIGC label. `ProduceID` is a hash of the
pixels, so an image's bytes depend on the image alone, whoever generated it, where and as which row.
"""

import hashlib
import json

from synthmill.data.png import Pixels

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PRODUCER = "synthmill"
_HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType><TC260:AIGC>"
)
_TAIL = '</TC260:AIGC></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
_AIGC = json.dumps({"Label": "1", "ContentProducer": PRODUCER, "ProduceID": "@"}, separators=(",", ":"))
_BEFORE, _AFTER = (_HEAD + _AIGC + _TAIL).encode().split(b"@")


def label_packet(pixels: Pixels) -> bytes:
    """The XMP packet of a generated image (H, W) or (H, W, 3)."""
    produce_id = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:32]
    return _BEFORE + produce_id.encode() + _AFTER
