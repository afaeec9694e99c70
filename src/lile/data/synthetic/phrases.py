"""The wording of synthetic captions, as data: what each fact may be called.

``[a|b|]`` is a choice (the last one empty here) and may be nested; ``{name}`` is filled in by ``words.py``.
A feature has noun phrases ("... with a dense lymphocytic infiltrate") and whole sentences.
"""

from __future__ import annotations

TUMOR = "[tumor|tumour|neoplasm|lesion]"

TITLES: dict[str, str] = {
    "glands": f"[[adenocarcinoma|glandular proliferation|gland-forming {TUMOR}]|[{{how}} |]glands[| in [the |]stroma]]",
    "cribriform": f"[cribriform [carcinoma|proliferation|{TUMOR}]|[{{how}} |]cribriform [islands|structures|glands]]",
    "papillae": (
        f"[papillary [carcinoma|proliferation|{TUMOR}]|[{{how}} |]papillae [with|on] fibrovascular [cores|stalks]]"
    ),
    "nests": (
        f"[[keratinizing |]squamous cell carcinoma|[{{how}} |]nests of [keratinizing |]squamous cells|squamous {TUMOR}]"
    ),
    "trabeculae": f"[trabecular [carcinoma|growth|{TUMOR}]|[{{how}} |][cords|trabeculae] of [tumor|epithelial] cells]",
    "sheets": (
        f"[[solid|sheet-like] [carcinoma|growth|{TUMOR}]|[diffuse |]sheets of [tumor|neoplastic|epithelioid] cells]"
    ),
    "spindle": f"[spindle cell [sarcoma|{TUMOR}|proliferation]|[fascicles|bundles] of spindle[d|-shaped|] cells]",
    "collagen": "[fibrous tissue|collagenous connective tissue|scar tissue|bundles of collagen]",
    "adipose": "[[mature |]adipose tissue|[mature |]fat|lobules of [mature |]adipocytes|[lipoma|fatty tissue]]",
    "follicles": "[lymphoid tissue|lymph node|lymphoid [hyperplasia|aggregates]] with germinal cent[er|re]s",
}
"""What the whole picture is called. ``{how}`` is an adjective, or nothing."""

STRUCTURE = {
    "glands": "glands",
    "cribriform": "cribriform islands",
    "papillae": "papillae",
    "nests": "nests",
    "trabeculae": "[cords|trabeculae]",
    "spindle": "fascicles",
    "collagen": "[collagen |]fibers",
    "adipose": "[adipocytes|fat cells]",
    "follicles": "germinal centers",
}
CELLS = "[tumor|neoplastic|lesional] cells"

LOCALISATION = {
    "Ki-67": "nuclear",
    "cytokeratin": "cytoplasmic",
    "HER2": "membranous",
    "CD45": "lymphoid",
    "vimentin": "stromal",
    "CD34": "[vascular|endothelial]",
}
TARGET = {
    "Ki-67": "nuclei",
    "cytokeratin": "the [epithelium|epithelial cells]",
    "HER2": "the [epithelial |]cell membranes",
    "CD45": "[the |]lymphocytes",
    "vimentin": "the [stroma|stromal and spindle cells]",
    "CD34": "the [endothelium|vessel walls|blood vessels]",
}
MARKER_NAMES = {
    "Ki-67": "[Ki-67|Ki67|MIB-1]",
    "cytokeratin": "[cytokeratin|pancytokeratin|AE1/AE3]",
    "HER2": "[HER2|HER2/neu]",
    "CD45": "[CD45|LCA]",
    "vimentin": "vimentin",
    "CD34": "CD34",
}
INTENSITY = {"weak": "[weak|faint|light]", "moderate": "[moderate|medium]", "strong": "[strong|intense|marked]"}
FRACTION = {"focal": "focal", "patchy": "[patchy|heterogeneous]", "diffuse": "[diffuse|widespread]", "": ""}
SHARE = {
    "focal": "[about 15%|only a minority|a small fraction]",
    "patchy": "[about half|some 50%|roughly one half]",
    "diffuse": "[more than 90%|nearly all|the vast majority]",
}
IMMUNO = (
    "[immunohistochemistry|immunostaining|immunoperoxidase staining] for {marker} [in|of] {title}",
    "{title}, {marker} [immunostain|stain|immunohistochemistry]",
    "{title} [with|showing] {degree} {where} [staining|positivity|expression] for {marker}",
    "{degree} {where} {marker} [staining|positivity|immunoreactivity] in {title}",
)
IMMUNO_SENTENCE = (
    "{Marker} [stains|highlights|labels|decorates] {target}[ with {intensity} intensity|]",
    "[Staining|The reaction|Immunoreactivity] [for {marker} |]is [{where} and |]{degree}",
    "[There is|Note the] {degree} {where} [staining|positivity]",
)
SHARE_SENTENCE = (
    "{Marker} is [positive|expressed] in {share} of [the |]{cells}",
    "[Positivity|Staining] [is seen|is present] in {share} of the {cells}",
)

FEATURES: dict[str, tuple[str, str]] = {
    "size=small": (
        "small {structure}",
        "[The {structure} are [small|tiny]|[Small|Tiny] {structure} are [seen|present]]",
    ),
    "size=large": (
        "large {structure}",
        "[The {structure} are [large|big|enlarged]|[Large|Enlarged] {structure} are [seen|present]]",
    ),
    "spacing=sparse": (
        "[widely spaced|scattered|few] {structure}",
        "The {structure} are [sparse|widely [separated|spaced][ by [abundant|ample] stroma|]]",
    ),
    "spacing=crowded": (
        "[crowded|closely packed|back-to-back] {structure}",
        "The {structure} are [crowded|closely packed|arranged back to back][ with little [intervening |]stroma|]",
    ),
    "outline=round": (
        "[round|smoothly contoured] {structure}",
        "The {structure} [have [smooth|regular|round] outlines|are round and regular]",
    ),
    "outline=irregular": (
        "[irregular|angulated] {structure}",
        "The {structure} [have [irregular|angulated|jagged] outlines|are irregular[ and angulated|] in shape]",
    ),
    "direction=horizontal": (
        "[horizontal|horizontally oriented] {structure}",
        "The {structure} [run|are oriented|are aligned] horizontally",
    ),
    "direction=vertical": (
        "[vertical|vertically oriented] {structure}",
        "The {structure} [run|are oriented|are aligned] vertically",
    ),
    "direction=oblique": (
        "[obliquely oriented|diagonal] {structure}",
        "The {structure} [run|are oriented|are cut] [obliquely|diagonally]",
    ),
    "cellularity=low": (
        "[low cellularity|widely spaced nuclei]",
        "[Cellularity is low|The [tumor |]cells are widely spaced|Nuclei are [few|sparse]]",
    ),
    "cellularity=high": (
        "[high cellularity|crowded nuclei|increased cellularity]",
        (
            "[Cellularity is [high|increased]|The [nuclei|cells] are [crowded|densely packed]|"
            "The tissue is highly cellular]"
        ),
    ),
    "pleomorphism=mild": (
        "[uniform|bland|monotonous] nuclei",
        (
            "[The nuclei are [small and uniform|bland|regular]|Nuclear atypia is [minimal|mild]|"
            "There is little variation in nuclear size]"
        ),
    ),
    "pleomorphism=moderate": (
        "moderate [nuclear pleomorphism|atypia]",
        "[Nuclear [pleomorphism|atypia] is moderate|The nuclei show moderate [pleomorphism|variation in size]]",
    ),
    "pleomorphism=marked": (
        "[marked|severe|striking] [nuclear |]pleomorphism",
        (
            "[{cells} show [marked|severe] [nuclear |]pleomorphism|[Large|Enlarged], [bizarre|"
            "hyperchromatic] nuclei are [seen|frequent]|The nuclei vary greatly in size]"
        ),
    ),
    "nucleoli": (
        "[prominent|conspicuous] nucleoli",
        "[Nucleoli are [prominent|conspicuous]|The nuclei [are vesicular with|have] prominent nucleoli]",
    ),
    "mitoses=few": (
        "[occasional|rare] mitoses",
        "[An occasional|A rare] mitotic figure [is seen|is present|can be found]",
    ),
    "mitoses=many": (
        "[frequent|numerous|many] mitoses",
        "[Mitoses are [frequent|numerous]|There are [many|numerous] mitotic figures|Mitotic activity is brisk]",
    ),
    "stroma=loose": (
        "[loose|edematous|myxoid] stroma",
        "The [intervening |]stroma is [loose|edematous|loose and pale|myxoid]",
    ),
    "stroma=dense": (
        "[dense|fibrous|desmoplastic] stroma",
        (
            "[The [intervening |]stroma is [dense|fibrous|collagenous|desmoplastic]|"
            "There is [stromal fibrosis|desmoplasia]]"
        ),
    ),
    "bundles=loose": (
        "[wide |]clefts between the bundles",
        (
            "[The [bundles|fibers] are [loosely arranged|separated by clefts]|[Wide clefts|"
            "Clefts] separate the [bundles|fibers]]"
        ),
    ),
    "bundles=dense": (
        "[densely|closely] packed bundles",
        "The [bundles|fibers] [are [densely|closely|tightly] packed|lie close together]",
    ),
    "lymphocytes=scattered": (
        "scattered lymphocytes",
        (
            "[[Scattered|A few] lymphocytes are [seen|present|interspersed]|There [are scattered lymphocytes|"
            "is a sparse lymphocytic infiltrate]]"
        ),
    ),
    "lymphocytes=dense": (
        "[a dense lymphocytic infiltrate|[dense|heavy] [chronic |]inflammation]",
        (
            "[There is a [dense|heavy|brisk] lymphocytic infiltrate|[Dense aggregates|"
            "Crowds] of lymphocytes are [seen|present]|Lymphocytes are abundant]"
        ),
    ),
    "necrosis=focal": (
        "[focal necrosis|a focus of necrosis]",
        (
            "[There is a [focus|small area] of necrosis{place}|[Focal|A focus of] necrosis is [seen|"
            "present]{place}|Note the [focal |]necrosis{place}]"
        ),
    ),
    "necrosis=extensive": (
        "[extensive|geographic|widespread] necrosis",
        (
            "[[Extensive|Geographic|Widespread] [coagulative |tumor |]necrosis is [seen|present]{place}|"
            "Much of the field is [necrotic|replaced by necrosis]]"
        ),
    ),
    "haemorrhage": (
        "[hemorrhage|haemorrhage|extravasated [red blood cells|erythrocytes]]",
        (
            "[There is [fresh |recent |][hemorrhage|haemorrhage]{place}|[Extravasated|"
            "Pooled] [red blood cells|erythrocytes] are [seen|present]{place}]"
        ),
    ),
    "mucin": (
        "[pools of mucin|extracellular mucin|mucin lakes]",
        "[[Pools|Lakes] of [extracellular |pale |]mucin are [seen|present]|There is abundant extracellular mucin]",
    ),
    "calcification": (
        "[calcification|psammoma bodies|calcifications]",
        (
            "[Calcification is [seen|present]|There are [psammoma bodies|calcified concretions]|"
            "Note the [laminated |]calcifications]"
        ),
    ),
    "vessels": (
        "[congested |dilated |][vessels|blood vessels]",
        (
            "[[Congested|Dilated|Thin-walled] [vessels|blood vessels|capillaries] are [seen|present]|"
            "Note the [congested |]blood vessels]"
        ),
    ),
    "edge": (
        "the [edge|margin] of the [specimen|tissue]{side}",
        (
            "[The [edge|margin|surface] of the [specimen|tissue|section] is [seen|visible]{side}|"
            "Note the free [edge|margin]{side}]"
        ),
    ),
}

PLACE = {
    "left": "[ on the left| at left| (left)| in the left [half|part] of the field]",
    "right": "[ on the right| at right| (right)| in the right [half|part] of the field]",
    "top": "[ at the top| (top)| in the upper [half|part] of the field]",
    "bottom": "[ at the bottom| (bottom)| in the lower [half|part] of the field]",
    "centre": "[ in the center| (center)| in the middle of the field]",
    "": "",
}

STAIN = {
    "H&E": "[H&E|H and E|hematoxylin and eosin|hematoxylin-eosin|H&E stain]",
    "IHC": "[IHC|immunoperoxidase|{marker}|immunohistochemistry|{marker} immunostain]",
}
TIMES = "[{x_times}|{times_x}|original magnification {x_times}|original magnification, {x_times}]"
