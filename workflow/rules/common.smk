# Functions of the rules: what is asked for when a job needs it, so that what is missing hinders no other target.


def one_line(ask):
    """The same function of the wildcards; a usage error is its own line, without a traceback."""

    def asked(*arguments):
        try:
            return ask(*arguments)
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return asked


# Weights that are not here must not stop the rule that fetches them.
fingerprints = one_line(lambda wildcards: PLAN.fingerprints)
encoder_sha256 = one_line(
    lambda wildcards: "" if PLAN.no_encoder else PLAN.encoder_sha256
)


def fer2013(wildcards):
    settings = CONFIG.finetune
    if settings.data is None:
        raise WorkflowError(
            "finetune.data is null: give fer2013.csv, icml_face_data.csv or a folder of classes"
        )
    return {
        name: str(path)
        for name in ("data", "votes")
        if (path := getattr(settings, name))
    }


def speech(wildcards):
    manifest = CONFIG.pretrain_audio.manifest
    if manifest is None:
        raise WorkflowError(
            "pretrain_audio.manifest is null: give a csv with path, corpus, speaker, label, language, licence"
        )
    return str(manifest)


def own_recipe(wildcards):
    # Another network's recipe must not make this one stale.
    settings, name = CONFIG.finetune, wildcards.network
    own = {key: recipe for key, recipe in settings.recipes.items() if key == name}
    return settings.model_copy(update={"recipes": own}).model_dump_json(
        exclude={"data", "votes"}
    )


def fetched(wildcards):
    if not FETCHED:
        raise WorkflowError(
            "no network of the configuration needs a download: `preset: paper` has three"
        )
    return FETCHED
