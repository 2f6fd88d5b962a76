//! A quantity is parsed or refused, and one that is parsed has one sign and one order of size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::notation::quantity::Quantity;

fuzz_target!(|data: &[u8]| {
    let Ok(quantity) = Quantity::parse(&String::from_utf8_lossy(data)) else { return };
    let signs = [quantity.is_zero(), quantity.is_negative(), quantity.is_positive()];
    assert_eq!(signs.into_iter().filter(|sign| *sign).count(), 1, "{quantity:?}");
    let (units, millis) = (quantity.units(), quantity.millis());
    assert!(quantity.is_negative() || units >= 0 && millis >= 0, "{quantity:?}");
    assert!(!quantity.is_positive() || units > 0 && millis > 0, "rounded up: {quantity:?}");
    assert!(!quantity.is_positive() || millis >= units, "{quantity:?}");
});
