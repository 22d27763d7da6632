"""Write a trained model as a GGUF file that llama.cpp reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gguf
import numpy as np

from training.model import Mini
from training.tokenizer import CHAT_TEMPLATE, CONTROL, SPECIAL, Coder

__all__ = ["export"]

PARTS = {
    "attn_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def export(model: Mini, coder: Coder, path: Path, note: dict) -> None:
    """Matrices in f16, norms in f32; the file appears under its name only when it is complete."""
    shape = model.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    out = gguf.GGUFWriter(unfinished, "llama")
    out.add_name("sartor-mini")
    out.add_license("apache-2.0")
    out.add_description(
        f"Sartor's built-in model for demonstrations and tests; {note.get('steps')} steps, {note.get('examples')} examples"
    )
    out.add_languages(["en", "fr"])
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.hidden)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.heads)
    out.add_rope_dimension_count(shape.head_width)
    out.add_rope_freq_base(shape.rope_base)
    out.add_layer_norm_rms_eps(shape.eps)
    out.add_vocab_size(shape.vocab)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(out, coder)
    weights = {name: w.detach().float().numpy() for name, w in model.state_dict().items()}
    out.add_tensor("token_embd.weight", model.embed.table().detach().numpy().astype(np.float16))
    out.add_tensor("output_norm.weight", weights["norm.weight"])
    for i in range(shape.layers):
        for ours, theirs in PARTS.items():
            w = weights[f"blocks.{i}.{ours}.weight"]
            out.add_tensor(f"blk.{i}.{theirs}.weight", w if w.ndim == 1 else w.astype(np.float16))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    os.replace(unfinished, path)


def add_tokenizer(out: gguf.GGUFWriter, coder: Coder) -> None:
    vocabulary = coder.tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = [
        gguf.TokenType.CONTROL
        if t in CONTROL
        else gguf.TokenType.USER_DEFINED
        if t in SPECIAL
        else gguf.TokenType.NORMAL
        for t in tokens
    ]
    merges = [" ".join(m) if not isinstance(m, str) else m for m in stored_merges(coder)]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges(merges)
    out.add_eos_token_id(coder.end)
    out.add_eot_token_id(coder.end)
    out.add_pad_token_id(coder.end)
    out.add_add_bos_token(False)
    out.add_chat_template(CHAT_TEMPLATE)


def stored_merges(coder: Coder) -> list:
    return json.loads(coder.tokenizer.to_str())["model"]["merges"]
