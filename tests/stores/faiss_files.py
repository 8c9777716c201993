"""Small FAISS index files for the tests of stores."""

import faiss
import numpy as np

from small import File


class Index(File):
    """A flat index: the ids and texts of its rows are those of ``small.table``, by their number."""

    payload = columns = nulls = False
    factory = "Flat"

    def url(self, name):
        return str(self.root / f"{name}.faiss")

    def store(self, name, rows):
        ids, X = np.array([*rows], np.int64), np.array([x for _, x in rows.values()], np.float32)
        index = faiss.index_factory(X.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1  # FAISS warns of few rows
            index.train(X)
        self.add(index, X, ids)
        faiss.write_index(index, self.url(name))

    def add(self, index, X, ids):
        index.add(X)

    def rows(self, name):
        """The vectors and ids of a file, by FAISS alone."""
        index = faiss.read_index(self.url(name))
        X = index.reconstruct_n(0, index.ntotal)
        return X, np.random.default_rng(1).permutation(len(X))

    def read(self, name):
        X, ids = self.rows(name)
        vectors = [x if x.any() else None for x in X]
        return {int(key): (f"text {key}", x) for key, x in zip(ids, vectors, strict=True)}


class IndexOfGraph(Index):
    factory = "HNSW8"


class IndexOfIds(Index):
    """An index of another one, and of ids."""

    payload = True
    factory = "IDMap,HNSW8"

    def add(self, index, X, ids):
        index.add_with_ids(X, ids)

    def rows(self, name):
        index = faiss.read_index(self.url(name))
        return index.index.reconstruct_n(0, index.ntotal), faiss.vector_to_array(index.id_map)


class IndexOfLists(IndexOfIds):
    """An IVF index: its ids are all numbers from 0, so they are those of its rows."""

    payload = False
    factory = "IVF3,Flat"

    def rows(self, name):
        index = faiss.read_index(self.url(name))
        lists = index.invlists
        parts = [faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy() for i in range(lists.nlist)]
        ids = np.concatenate(parts)
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        return index.reconstruct_batch(ids), ids
