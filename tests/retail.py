"""Tables that belong together, made from stated distributions: a shop of two tables, and one of five."""

import numpy as np
import pyarrow as pa

Tables = dict[str, pa.Table]
TINY = {
    "model.config": {"embedding_dim": 32, "hidden_dim": 32, "epochs": 4},
    "training.max_steps": 60,
    "training.global_batch_rows": 100,
}


def two_levels(customers: int = 300, seed: int = 0) -> Tables:
    """Customers and orders: `gold` customers order about 5 times, others about once, and spend more."""
    rng = np.random.default_rng(seed)
    plan = rng.choice(["basic", "gold"], customers, p=[0.7, 0.3])
    age = np.where(plan == "gold", rng.integers(40, 80, customers), rng.integers(18, 60, customers))
    count = rng.poisson(np.where(plan == "gold", 5.0, 1.2))
    owner = np.repeat(np.arange(customers), count)
    amount = np.round(np.exp(rng.normal(np.where(plan[owner] == "gold", 5.0, 3.0), 0.4)), 2)
    channel = np.where(rng.random(len(owner)) < np.where(plan[owner] == "gold", 0.9, 0.2), "shop", "web")
    order = rng.permutation(len(owner))
    return {
        "customers": pa.table({"customer_id": np.arange(customers) + 1, "plan": plan.tolist(), "age": age}),
        "orders": pa.table(
            {
                "order_id": [f"O-{i:05d}" for i in range(len(owner))],
                "customer_id": (owner + 1)[order],
                "amount": amount[order],
                "channel": channel[order].tolist(),
            }
        ),
    }


def five_tables(customers: int = 200, seed: int = 0) -> Tables:
    """Regions of customers, their orders, lines of orders with a product each, and products: `orders` has no
    customer now and then, lines count from 1 in an order, a bulky product is ordered once, a small one often,
    and the price of a line is near the product's."""
    rng = np.random.default_rng(seed)
    regions, products = 24, 60
    climate = rng.choice(["north", "south"], regions)
    region = rng.integers(0, regions, customers)
    segment = np.where(rng.random(customers) < np.where(climate[region] == "north", 0.8, 0.2), "firm", "home")
    count = rng.poisson(np.where(segment == "firm", 4.0, 1.5))
    owner = np.repeat(np.arange(customers), count)
    anonymous = rng.random(len(owner)) < 0.05
    express = rng.random(len(owner)) < np.where(segment[owner] == "firm", 0.7, 0.2)
    kind = rng.choice(["bulky", "small"], products)
    price = np.round(
        np.where(kind == "bulky", rng.uniform(200, 900, products), rng.uniform(2, 40, products)), 2
    )
    lines = 1 + rng.poisson(np.where(express, 0.5, 2.0))
    of = np.repeat(np.arange(len(owner)), lines)
    is_small = rng.random(len(of)) < np.where(express[of], 0.9, 0.5)
    product = np.where(
        is_small,
        rng.choice(np.flatnonzero(kind == "small"), len(of)),
        rng.choice(np.flatnonzero(kind == "bulky"), len(of)),
    )
    number = np.concatenate([np.arange(1, n + 1) for n in lines]) if len(lines) else np.zeros(0, int)
    quantity = np.where(kind[product] == "small", rng.integers(3, 9, len(of)), 1)
    customer = pa.array([f"C{i:04d}" for i in owner.tolist()], mask=anonymous)
    return {
        "regions": pa.table({"region": [f"R{i:02d}" for i in range(regions)], "climate": climate.tolist()}),
        "customers": pa.table(
            {
                "id": [f"C{i:04d}" for i in range(customers)],
                "region": [f"R{i:02d}" for i in region.tolist()],
                "segment": segment.tolist(),
            }
        ),
        "products": pa.table({"sku": np.arange(100, 100 + products), "kind": kind.tolist(), "price": price}),
        "orders": pa.table(
            {"order_no": np.arange(1, len(owner) + 1), "customer": customer, "express": express}
        ),
        "lines": pa.table(
            {
                "order_no": of + 1,
                "line": number,
                "sku": (100 + product).astype(np.int32),
                "quantity": quantity,
                "paid": np.round(price[product] * rng.uniform(0.9, 1.0, len(of)), 2),
            }
        ),
    }


FIVE = {
    "tables": {
        "regions": {"key": "region", "foreign_keys": []},
        "customers": {"key": "id", "foreign_keys": ["region -> regions"]},
        "products": {"key": "sku", "foreign_keys": []},
        "orders": {"key": "order_no", "foreign_keys": ["customer -> customers"]},
        "lines": {"key": ["order_no", "line"], "foreign_keys": ["order_no -> orders", "sku -> products"]},
    }
}


def named(tables: Tables, child: str, columns: str, parent: str, key: str) -> np.ndarray:
    """The parent's row that each row of the child names, -1 where it names none; fails for an orphan."""
    place = {value: row for row, value in enumerate(tables[parent][key].to_pylist())}
    return np.array([-1 if v is None else place[v] for v in tables[child][columns].to_pylist()])
