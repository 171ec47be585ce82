"""A finished training and its directory: what it takes to load a run, to check it and to repeat it.

config.json          options, resolved
request.json         options as requested, data fingerprint, whether a refit was requested
run.json             record: fit, epochs, seconds, score terms, environment, revision, checksums; written last
scaling.safetensors  scaling of the item features, also of items added after training
model.safetensors    trained weights; weights of a pre-trained model that were not trained stay in its own files
ranker.safetensors   tensors of the score terms
reasoner.safetensors trained weights of a reasoner
residual.safetensors what its states add to the conditions
reasoning.sqlite     its states and statements, as far as they were made
requests.safetensors the score term of requests in words, learnt after the training
data/                the interactions, in the canonical form
logs/                JSON lines and TensorBoard events
work/                checkpoints during training
overlay.safetensors  items, events and removals after training (`deftrec.incremental`)
"""

from deftrec.run.environment import PACKAGE, checkout_of, environment, git_output, git_revision
from deftrec.run.folder import begin_run, saving_in, training_in
from deftrec.run.records import FittedOn, Provenance, ReasonerInfo, Request, RunInfo
from deftrec.run.saved import (
    REQUESTS,
    STORE,
    Run,
    load_run,
    read_records,
    read_run,
    run_digest,
    save_requests,
    save_run,
)

__all__ = ["PACKAGE", "REQUESTS", "STORE", "FittedOn", "Provenance", "ReasonerInfo", "Request", "Run", "RunInfo"]
__all__ += ["begin_run", "checkout_of", "environment", "git_output", "git_revision", "load_run", "read_records"]
__all__ += ["read_run", "run_digest", "save_requests", "save_run", "saving_in", "training_in"]
