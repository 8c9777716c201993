import minivec  # noqa: F401  before any example imports Keras: picks an installed backend
