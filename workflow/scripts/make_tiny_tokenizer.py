"""Tool, not a rule: make config/encoders/tiny_roberta's tokenizer from captions of an archive that nobody can draw.

Byte-level BPE as RoBERTa's, with its special tokens at its places. The same command gives the same bytes:
    python workflow/scripts/make_tiny_tokenizer.py --out-dir config/encoders/tiny_roberta
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from lile.data.synthetic.scene import scene_for
from lile.data.synthetic.words import caption_of
from lile.files import write_json, write_text
from lile.script import run_script
from lile.seeds import seed_for

SEED = -1  # archives take no negative seed, so that no caption of theirs is learnt from
CAPTIONS = 4000
VOCABULARY = 1000
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def work(args: Namespace) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        (caption_of(scene_for(SEED, index), np.random.default_rng(seed_for(SEED, index))) for index in range(CAPTIONS)),
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    tokenizer.post_processor = RobertaProcessing(
        ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), trim_offsets=True, add_prefix_space=False
    )
    write_text(args.out_dir / "tokenizer.json", json.dumps(json.loads(tokenizer.to_str()), indent=1) + "\n")
    names = ("bos", "pad", "eos", "unk", "mask")
    about = {f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)}
    about |= {"cls_token": "<s>", "sep_token": "</s>", "add_prefix_space": False, "model_max_length": 512}
    write_json(args.out_dir / "tokenizer_config.json", about | {"tokenizer_class": "RobertaTokenizerFast"})


if __name__ == "__main__":
    parser = ArgumentParser(prog="make_tiny_tokenizer", description=__doc__)
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for tokenizer.json, tokenizer_config.json")
    run_script(parser, work)
