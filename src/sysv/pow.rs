//! pow(3), which the C library keeps in a library of its own.

/// `pow` of `<math.h>`. indicatif estimates how long a work still takes with it. For this one function libm.so would be
/// loaded whenever the program starts, which takes a twentieth of the time of a short list.
// SAFETY: it has the type and the meaning of C's function of this name, and is the only one in the program.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
