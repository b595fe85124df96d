"""The section `responsible_use` of every model card; docs/responsible-use.md explains it in detail."""

FACES = {
    "people": "FER2013: 35,887 grey images of 48 px from a web search; age, gender and origin of the people "
    "are unknown. A network that starts from face recognition has also seen photographs of "
    "celebrities, collected without asking",
    "failures": "fear is mostly taken for sad; disgust is rare in the training data; turned faces are seldom seen",
}
SPEECH = {
    "people": "the corpora under `data`: actors and volunteers, few languages",
    "failures": "on corpora that it was not trained on the recall is much lower (`uar`); spontaneous speech was "
    "never seen",
}
FUSION = {
    "people": "the corpus and the number of speakers above; the networks named under `weights` have training "
    "data of their own",
    "failures": "see `metrics`: recall of each class, and accuracy by speaker, from the lowest to the highest; a "
    "clip in which no face is found is predicted from audio alone",
}


def responsible_use(about: dict[str, str]) -> dict[str, str]:
    """The section of a model card.

    Args:
        about: `FACES`, `SPEECH` or `FUSION`.
    """
    return {
        "meaning": "how closely a face or voice resembles posed or acted emotion, not what a person feels",
        **about,
        "consent": "process only recordings that the people in them agreed to have processed for this purpose; "
        "features identify people and are personal data",
        "not_intended": "decisions about individuals: hiring, grading, policing, insurance, surveillance, detection "
        "of lies",
        "law": "Regulation (EU) 2024/1689, Article 5(1)(f), prohibits emotion recognition at work and in "
        "education, except for medical or safety reasons; elsewhere in the EU it is high-risk and "
        "people must be informed",
    }
