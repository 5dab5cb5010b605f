"""Seeds whose histories broke a promise once, and why. Each cause has a unit test, too: a seed tells its story only as long as the plans
are drawn as they were.

Rule: a failing seed comes here before its cause is mended.
"""

SEEDS = (
    ("small", 34, "a disk restored between a HAVE and its data: the hub waited for ever for what was promised"),
    ("small", 62, "the ledgers of a sealed epoch differed: the node did not know what the hub had of it"),
    ("small", 92, "produce_many on a full disk was refused after it had stored the first of its batches"),
    ("small", 117, "a first segment that was never synced was called rolled back"),
    ("small", 272, "a sealed epoch was not offered to a hub that had been rolled back"),
    ("small", 635, "what a walk had found of a producer was forgotten at the next checkpoint: a repeat was stored twice"),
    ("small", 969, "a hub whose store refused commits mixed the records of two openings of a log"),
    ("small", 1041, "a WANT that was lost after the hub had been rolled back was never asked for again"),
    ("small", 1384, "a torn batch before a whole one: the producer's repeat was swallowed"),
    ("small", 2101, "data of two devices with one name were mixed behind a store that refused commits"),
    ("small", 2134, "a fork never ended while records were produced"),
    ("small", 2797, "an epoch offered again was told that all of it was accounted for"),
    ("small", 5833, "a log whose only segment was torn went back below its base, and gave out offsets twice"),
    ("small", 6620, "a parting that had healed was carried out: everything arrived twice"),
    ("small", 8501, "a rotten slot made a sealed epoch look open: it was sealed anew at its physical end"),
    ("small", 21468, "what a power cut tore was called corrupt when an older note of a gap stood above it"),
    ("small", 51475, "produce_many on a nearly full disk forgot what was buffered before it, and was refused half-way"),
    ("restless", 188, "two disks with many openings had nothing in common that was sent: they parted too late, and records were lost"),
    ("restless", 262, "a node that had started a hundred times without a network sent everything again"),
    ("restless", 261, "what the hub had been promised before many openings was not remembered: everything was sent again"),
    ("restless", 50956, "a cursor that was openings behind: what the two sides had in common was forgotten around it"),
    ("large", 12, "streams with nothing to send held all credit: others starved for minutes"),
    ("large", 18, "a fork whose new epoch was torn by a full disk was sealed all the same"),
    ("large", 50, "a gap across two openings made the node fork though nothing had parted"),
)
