import minivec  # noqa: F401  chooses an installed backend before a test module imports Keras
