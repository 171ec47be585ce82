"""Names of scikit-learn, implicit, LightFM, Surprise and RecTools for what DeftRec calls otherwise."""

from collections.abc import Mapping

_LISTS = "recommend(user, k) for a list, recommend([user, ...], as_frame=True) for many, score(user, items) for scores"
_TRAIN = "Recommender.fit(data, config), which returns a new recommender; start=recommender goes on from its weights"
_ITEM_VECTORS, _USER_VECTORS = (
    "item_embeddings(), which gives ids and vectors",
    "user_embeddings(), for ids and vectors",
)
_EVALUATE = "evaluate() for the test split, evaluate(interactions=data, k=(5, 10)) for other data"
_SAVE, _LOAD = "save(directory)", "Recommender.load(directory)"

RECOMMENDER: dict[str, str] = {
    **dict.fromkeys(("predict", "predict_many", "recommend_for_users", "recommend_items", "recommend_k_items"), _LISTS),
    **dict.fromkeys(("get_recommendations", "get_top_k", "top_k", "rank", "recommend_users", "forward"), _LISTS),
    **dict.fromkeys(("predict_proba", "decision_function", "predict_rank", "estimate", "scores"), "score(user, items)"),
    **dict.fromkeys(("transform", "fit_transform", "get_user_representations", "user_factors"), _USER_VECTORS),
    **dict.fromkeys(("user_vectors", "get_user_vectors", "user_embedding", "similar_users"), _USER_VECTORS),
    **dict.fromkeys(("item_factors", "item_vectors", "get_item_vectors", "item_embedding"), _ITEM_VECTORS),
    **dict.fromkeys(("get_item_representations", "embeddings", "vectors"), _ITEM_VECTORS),
    **dict.fromkeys(("similar_items", "recommend_to_items", "most_similar", "get_neighbors"), "similar(item, k)"),
    **dict.fromkeys(("test", "cross_validate", "metrics", "evaluate_model"), _EVALUATE),
    **dict.fromkeys(("fit_partial", "train", "fit_predict"), _TRAIN),
    "partial_fit": "add_events(events) for new interactions at once, add_items(items); or " + _TRAIN,
    **dict.fromkeys(("add_users", "update"), "add_events(events), which knows new users too"),
    **dict.fromkeys(("get_params", "set_params", "params", "hparams"), "config, and Recommender.fit(data, config)"),
    **dict.fromkeys(("save_model", "dump", "to_pickle", "save_pretrained", "write"), _SAVE),
    **dict.fromkeys(("load_model", "from_pretrained", "from_pickle", "read"), _LOAD),
    **dict.fromkeys(("dataset", "data", "items", "users", "train_data"), "interactions, and its users and catalogue"),
    **dict.fromkeys(("explain", "explain_item"), "recommend(user, k, explain=True)"),
    **dict.fromkeys(("to", "cuda", "cpu"), "Recommender.load(directory, device=...)"),
    "eval": "nothing: a recommender is always ready to recommend; evaluate() measures it",
}
"""What to call instead of a name that `Recommender` does not have."""

_EVENTS, _CATALOGUE = "events(), a polars frame of user, item and time", "catalogue, a polars frame of the items"

INTERACTIONS: dict[str, str] = {
    **dict.fromkeys(("df", "head", "columns", "to_frame", "to_pandas", "interactions", "ratings", "data"), _EVENTS),
    **dict.fromkeys(("items", "item_features", "item_map", "item_id_map"), _CATALOGUE),
    **dict.fromkeys(("shape", "describe"), "n_users, n_items and n_interactions"),
    **dict.fromkeys(("user_map", "user_id_map"), "users, user_number(user) and item_numbers(items)"),
    **dict.fromkeys(("split", "train_test_split"), "deftrec.data.make_split(interactions, 'leave-one-out')"),
    **dict.fromkeys(("read_csv", "from_csv", "from_dataframe", "from_pandas", "construct"), "Interactions.from_frame"),
    **dict.fromkeys(("add", "append"), "Recommender.add_events(events), or a longer frame"),
    "build_full_trainset": "nothing: Recommender.fit(interactions) splits by itself",
}
"""What to call instead of a name that `Interactions` does not have."""


def advice(owner: str, name: str, habits: Mapping[str, str]) -> str:
    """The message of an `AttributeError`, with what to call instead of `name` where that is known."""
    missing = f"{owner!r} object has no attribute {name!r}"
    return f"{missing}; call {habits[name]}" if name in habits else missing
