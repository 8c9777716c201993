from pathlib import Path


def pytest_collection_modifyitems(items):
    """Every test of this folder is one of ``-m databases``, but those that take minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("slow"):
            item.add_marker("databases")
