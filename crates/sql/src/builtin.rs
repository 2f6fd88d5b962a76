//! The sample data sets that are compiled in, so that the SQL runner works where nobody has set anything up.
//! Their names begin with `demo/`, which no data set of an operator can, so neither is ever taken for the other.
//! `deploy/examples/README.md` describes them.

/// A data set: its name, and its files by name.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    /// File name and content.
    pub(super) files: &'static [(&'static str, &'static str)],
}

macro_rules! example {
    ($dataset:literal, $file:literal) => {
        ($file, include_str!(concat!("../../../deploy/examples/", $dataset, "/", $file)))
    };
}

/// All of them, by name.
pub(super) const DATASETS: [BuiltIn; 2] = [
    BuiltIn {
        name: "demo/shop",
        files: &[example!("shop", "customers.csv"), example!("shop", "orders.csv"), example!("shop", "products.csv")],
    },
    BuiltIn { name: "demo/support", files: &[example!("support", "agents.csv"), example!("support", "tickets.csv")] },
];
