"""Pools of processes: python pools.py fork|spawn|forkserver|joblib."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

JOBS, WORKERS = 24, 3


def work(_):
    from orders import orders  # in the worker: never pickled, or made for each job

    return orders()["status"]


def main(kind):
    if kind == "joblib":
        from joblib import Parallel, delayed

        jobs = (delayed(work)(number) for number in range(JOBS))
        statuses = Parallel(n_jobs=WORKERS)(jobs)
    else:
        context = multiprocessing.get_context(kind)
        with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
            statuses = list(pool.map(work, range(JOBS)))
    print({status: statuses.count(status) for status in set(statuses)})


if __name__ == "__main__":
    main(sys.argv[1])
