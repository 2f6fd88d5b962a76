//! Variance and standard deviation, of a sample and of all.

use longshore_sqlite::{Aggregate, Output, Value};

use super::{as_number, real, shown};

/// Welford's sums, which lose no digits where values are large and near one another.
#[derive(Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn take(&mut self, arguments: &[Value<'_>]) -> Result<(), String> {
        let value = arguments.first().copied().unwrap_or(Value::Null);
        if matches!(value, Value::Null) {
            return Ok(());
        }
        let number =
            as_number(value).ok_or_else(|| format!("the deviation of {}: it is not a number", shown(value)))?;
        self.count += 1.0;
        let before = number - self.mean;
        self.mean += before / self.count;
        self.squares += before * (number - self.mean);
        Ok(())
    }

    /// The variance; `without` is 1 for a sample, 0 for all. None of too few values.
    fn variance(&self, without: f64) -> Option<f64> {
        (self.count > without).then(|| self.squares / (self.count - without))
    }
}

macro_rules! aggregate {
    ($(#[$doc:meta])* $name:ident, $without:literal, $of_variance:expr) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name(Spread);

        impl Aggregate for $name {
            fn step(&mut self, arguments: &[Value<'_>]) -> Result<(), String> {
                self.0.take(arguments)
            }

            fn finish(self) -> Result<Output, String> {
                Ok(self.0.variance($without).map_or(Output::Null, |variance| real($of_variance(variance))))
            }
        }
    };
}

aggregate!(/// Of a sample.
    Deviation, 1.0, f64::sqrt);
aggregate!(/// Of all there is.
    DeviationOfAll, 0.0, f64::sqrt);
aggregate!(/// Of a sample.
    Variance, 1.0, std::convert::identity);
aggregate!(/// Of all there is.
    VarianceOfAll, 0.0, std::convert::identity);

#[cfg(test)]
mod tests {
    use super::*;

    fn of<A: Aggregate>(values: &[Value<'_>]) -> Output {
        let mut aggregate = A::default();
        values.iter().for_each(|value| aggregate.step(&[*value]).unwrap());
        aggregate.finish().unwrap()
    }

    #[test]
    fn deviations() {
        let values = [Value::Integer(1), Value::Real(2.0), Value::Null, Value::Text("9")];
        assert_eq!(of::<Variance>(&values), Output::Real(19.0));
        assert_eq!(of::<Deviation>(&values), Output::Real(19.0_f64.sqrt()));
        assert_eq!(of::<VarianceOfAll>(&values), Output::Real(38.0 / 3.0));
        assert_eq!(of::<DeviationOfAll>(&[Value::Integer(5)]), Output::Real(0.0));
        assert_eq!(of::<Deviation>(&[Value::Integer(5)]), Output::Null);
        assert_eq!(of::<VarianceOfAll>(&[]), Output::Null);
        let far = [1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0].map(Value::Real);
        assert_eq!(of::<Variance>(&far), Output::Real(1.0));
        assert!(Deviation::default().step(&[Value::Text("abc")]).unwrap_err().contains("'abc'"));
    }
}
