"""A finished run as a warm start."""

from deftrec.ensemble import Ensemble
from deftrec.incremental.warm_start import WarmStart, weights_digest
from deftrec.run import Provenance, Run


def start_of(run: Run) -> WarmStart:
    """The warm start from `run`."""
    members = tuple(run.model.members) if isinstance(run.model, Ensemble) else (run.model,)
    info = run.info
    provenance = Provenance(
        dataset=info.dataset,
        fingerprint=info.fingerprint,
        weights=weights_digest(members),
        fit=info.fit,
        epochs=info.epochs,
    )
    fitted = run.training
    trained = fitted.counts(run.interactions.n_items) > 0
    items = run.interactions.catalogue["item"]
    return WarmStart(
        members=members,
        items=items,
        trained=trained,
        collaborative_width=info.collaborative_width,
        scaling=run.scaling,
        provenance=provenance,
        users=run.interactions.users,
        fitted=fitted,
        base=info.base,
        sentences=info.sentences,
    )
