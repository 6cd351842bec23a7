"""The limit of BLAS threads is lifted by the last context that ends."""

from threadpoolctl import threadpool_info

from mixexp.em.threads import single_threaded_blas


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_contexts_that_overlap_leave_the_threads_as_they_were():
    with single_threaded_blas():
        pass  # everything is loaded
    before = blas_threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
