"""Everything that makes no sense in an experiment file is refused with its line and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.files import HEAD, TRAINED, refused

ERF = f"{HEAD}analyses:\n  - erf\n  - {{analysis: erf"
TABLE = f"{HEAD}analyses: [profile]\npublished:\n"
CASES = {
    # unknown keys, at every level
    f"{HEAD}analysis: [erf]\n": "a key in line 3 of e.yaml, got 'analysis'; did you mean analyses?",
    f"{HEAD}seed:\n  - 1\n": "a key in line 3 of e.yaml, got 'seed'; did you mean seeds?",
    f"{HEAD}mini:\n  titel: x\n": "a key in line 4 of e.yaml, got 'titel'; did you mean title?",
    f"{HEAD}mini:\n  include: x\n": "a key in line 4 of e.yaml, got 'include';",
    f"{HEAD}mini: small\n": "keys and values under `mini` in line 3 of e.yaml, got 'small';",
    "title: T\nmodels:\n  - {model: unified_dw_conv_nano, lable: x}\n": "key of the model in line 3 of e.yaml, got "
    "'lable'; did you mean label?",
    f"{HEAD}data:\n  set: digits\n  splitt: x\n": "a key of the data in line 5 of e.yaml, got 'splitt';",
    f"{HEAD}data: {{set: digits}}\ntraining: {{epochs: 3}}\n": "a key of the training in line 4 of e.yaml, got 'epochs",
    f"{ERF},\n     num_image: 3}}\n": "a key of the analysis erf in line 6 of e.yaml, got 'num_image'; did you mean "
    "num_images?",
    f"{TABLE}  - {{tabel: x}}\n": "a key of the published table in line 5 of e.yaml, got 'tabel'; did you mean table?",
    f"{TABLE}  - table: stm_table3_imagenet\n    columns:\n      top1: {{metrics: accuracy}}\n": "in line 7 of e.yaml, "
    "got 'metrics'; did you mean metric?",
    # wrong types
    "title: 5\nmodels: [unified_dw_conv_nano]\n": "expected text for `title` in line 1 of e.yaml, got 5;",
    f"{HEAD}seeds: [0, one]\n": "expected a whole number for `seeds` in line 3 of e.yaml, got 'one';",
    f"{HEAD}seeds: [true]\n": "expected a whole number for `seeds` in line 3 of e.yaml, got True;",
    f"{HEAD}seeds:\n": "expected a whole number for `seeds` in line 3 of e.yaml, got None;",
    f"{HEAD}weights: random_ones\n": "expected a `weights` in line 3 of e.yaml, got 'random_ones'; did you mean random",
    f"{HEAD}device: [gpu]\n": "expected a `device` in line 3 of e.yaml, got \"['gpu']\"; known: any, cuda",
    f"{HEAD}data: digits\n": "expected keys and values of the data in line 3 of e.yaml, got 'digits'; write `key: valu",
    f"{HEAD}data: {{train: x}}\n": "expected set of the data, which begins in line 3 of e.yaml, got none; add `set:`",
    f"{HEAD}data: {{set: digits, fractions: [0.1, much]}}\n": "expected a number for fractions of the data in line 3",
    f"{ERF}, num_images: many}}\n": "a whole number for num_images of the analysis erf in line 5 of e.yaml, got 'many'",
    f"{ERF}, stages: {{a: 1}}}}\n": "expected a whole number for stages of the analysis erf in line 5",
    f"{HEAD}analyses: [{{analysis: profile, timing: 1}}]\n": "expected true or false for timing of the analysis profil",
    f"{HEAD}training: {{change: [1]}}\n": "expected keys and values for change of the training in line 3 of e.yaml",
    # models
    "title: T\nmodels:\n  - unified_dw_conv_nano\n  - nothing_like_*_this\n": "expected a model in line 4 of e.yaml, "
    "got 'nothing_like_*_this';",
    "title: T\nmodels:\n  - unified_dw_convv_nano\n": "expected a model in line 3 of e.yaml, got "
    "'unified_dw_convv_nano'; did you mean",
    'title: T\nmodels: ["unified_dw_conv_nano[kernell=3]"]\n': "expected a model in line 2 of e.yaml",
    "title: T\nmodels: []\n": "each model once, and at least one in line 2 of e.yaml, got none; correct `models`",
    f"title: T\nmodels: [unified_dw_conv_nano, {'unified_dw_conv_*'}]\n": "got unified_dw_conv_nano twice;",
    f"{HEAD}control: unified_pvt_nano\nanalyses: erf\n": "a control among the models in line 3 of e.yaml, got 'unified",
    "models: [unified_dw_conv_nano]\n": "expected `title:` in e.yaml, got none; add it",
    "title: T\n": "expected `models:` in e.yaml, got none; add it",
    # analyses
    f"{HEAD}analyses: [erff]\n": "expected an analysis in line 3 of e.yaml, got 'erff'; did you mean erf",
    f"{HEAD}analyses:\n  - {{num_images: 3}}\n": "expected `analysis: NAME` in line 4 of e.yaml, got {'num_images': 3}",
    f"{HEAD}": "expected something to do in e.yaml, got neither analyses nor training; add `analyses`",
    f"{ERF}, num_images: 0}}\n": "expected num_images of at least 1, got 0 (the analysis erf in line 5 of e.yaml); ",
    f"{ERF}, stages: [0]}}\n": "stages from 1",
    f"{ERF}, dtype: fp33}}\n": "expected a dtype of the analysis erf in line 5 of e.yaml, got 'fp33'",
    f"{ERF}, percent: [120]}}\n": "expected a percentage above 0 and at most 100, got 120",
    f"{HEAD}analyses:\n  - {{analysis: robustness, eps: [9/2]}}\n": "the analysis robustness in line 4",
    f"{HEAD}analyses:\n  - {{analysis: rotation, levels: [0], protocol: none}}\n": "the analysis rotation in line 4",
    f"{HEAD}analyses:\n  - {{analysis: profile, time_budget: -1}}\n": "expected a time budget above 0 s, got -1.0 (the "
    "analysis profile in line 4 of e.yaml); ",
    # seeds, fractions, training
    f"{HEAD}seeds: [1, 1]\nanalyses: erf\n": "seeds from 0 to 4294967295, each once, at least one in line 3 of e.yaml",
    f"{HEAD}seeds: [-1]\nanalyses: erf\n": "in line 3 of e.yaml, got -1; correct `seeds`",
    f"{HEAD}data: {{set: digits, fractions: [0.5, 0.5]}}\n": "fractions above 0 and up to 1, each once, got 0.5, 0.5",
    f"{HEAD}data: {{set: digits, fractions: [.nan]}}\n": "fractions above 0 and up to 1, each once, got nan",
    f"{HEAD}weights: trained\n": "`data` to train on beside `weights: trained` in line 3 of e.yaml, got none; add `dat",
    f"{TRAINED}  recipe: digitz\n": "expected a recipe in line 6 of e.yaml, got 'digitz'; did you mean digits or "
    "dino_digits?",
    TRAINED.replace(
        "epochs: 1,", "epoch: 1,"
    ): "expected a field of a recipe in line 6 of e.yaml, got 'epoch'; did you mean epochs",
    TRAINED.replace("epochs: 1,", "epochs: few,"): "expected epochs as a whole number in line 6 of e.yaml, got 'few'",
    TRAINED.replace("warmup_epochs: 0", "warmup_epochs: 1"): "fewer warmup_epochs than the 1 epochs",
    f"{TRAINED}  dtype: int8\n": "expected a dtype, got 'int8' (the training in line 7 of e.yaml); ",
    f"{TRAINED}  keep_every: 0\n": "expected keep_every >= 1, got 0",
    # epochs of training
    f"{HEAD}analyses: [{{analysis: erf, at_epochs: [1]}}]\n": "at_epochs with `weights: trained` alone in line 3 of "
    "e.yaml, got at_epochs and random weights; remove `at_epochs`",
    f"{TRAINED}analyses: [{{analysis: erf, at_epochs: [1]}}]\n": "training to keep the weights of epoch 1 in line 8 of "
    "e.yaml, got no `keep_every`; add `keep_every: 1` to `training`",
    f"{TRAINED}  keep_every: 2\nanalyses: [{{analysis: erf, at_epochs: [1]}}]\n": "epoch 1 in line 9 of e.yaml, got "
    "keep_every: 2; correct one of them",
    f"{TRAINED}  keep_every: 1\nanalyses: [{{analysis: erf, at_epochs: [2]}}]\n": "at_epochs up to the 1 of the "
    "recipe in line 9 of e.yaml, got 2;",
    f"{ERF}, at_epochs: [1, 1]}}\n": "expected epochs from 1, each once, got 1, 1",
    # published tables
    f"{TABLE}  - table: stm_table3_imagenets\n    columns: {{}}\n": "expected a published table in line 5 of e.yaml, "
    "got 'stm_table3_imagenets'; did you mean stm_table3_imagenet",
    f"{TABLE}  - table: stm_table3_imagenet\n    columns:\n      top_1: {{metric: accuracy}}\n": "expected a column of "
    "stm_table3_imagenet in line 7 of e.yaml, got 'top_1'; did you mean top1",
    f"{TABLE}  - table: stm_table3_imagenet\n    columns: {{}}\n    where: {{methods: x}}\n": "a column of "
    "stm_table3_imagenet in line 7 of e.yaml, got 'methods'",
    f"{TRAINED}analyses: [probe]\npublished:\n  - table: stm_table3_imagenet\n    columns:\n      top1: {{metric: "
    "knn_accuracy, epoch: 20}\n": "an epoch whose weights are analysed: 1 in line 9 of e.yaml, got "
    "20; correct `published`",
    # includes
    f"{HEAD}analyses: erf\ninclude: other.yaml\n": "expected the file included in line 4 of e.yaml, got none at",
    f"{HEAD}include: e.yaml\n": "files that include others in one direction, got e.yaml -> e.yaml in line 3 of e.yaml; "
    "remove one `include`",
    f"{HEAD}include: [1]\n": "expected text for `include` in line 3 of e.yaml, got 1;",
}


@pytest.mark.parametrize(("text", "said"), CASES.items(), ids=range(len(CASES)))
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_mini_without_a_miniature(tmp_path: Path) -> None:
    assert "expected a miniature in e.yaml, got a file without the key `mini`; run it without --mini" in refused(
        tmp_path, f"{HEAD}analyses: erf\n", mini=True
    )


def test_a_mistake_in_the_miniature_has_its_line(tmp_path: Path) -> None:
    text = f"{HEAD}analyses: erf\nmini:\n  title: small\n  seeds: [x]\n"
    assert "a whole number for `seeds` in line 6 of e.yaml" in refused(tmp_path, text, mini=True)
