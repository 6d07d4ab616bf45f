"""An encoder of texts small enough for every test: two layers of random weights and a vocabulary of letters."""

import functools
import string

import numpy as np
import pytest

WIDTH = 16
LIMIT = 32  # tokens


@functools.cache
def tiny(seed: int = 0):
    """(model, tokenizer)."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `text`")
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    words = [*special.values(), *string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    tokens = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token=words[1]))
    tokens.normalizer = normalizers.BertNormalizer()
    tokens.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokens.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, **special)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LIMIT,
        initializer_range=0.3,
    )
    return transformers.BertModel(config), tokenizer


def texts(*values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
