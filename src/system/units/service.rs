//! Units of systemd, derived as by its own cg_pid_get_unit() and cg_pid_get_user_unit() (src/basic/cgroup-util.c).

use super::Precision;

/// The types of units that have a cgroup.
const TYPES: [&str; 6] = [".service", ".scope", ".socket", ".mount", ".swap", ".slice"];

/// The maximum length of a unit's name in bytes (UNIT_NAME_MAX).
const MAX_BYTES: usize = 255;

/// Returns the unit below the slices, or the innermost slice. A unit of a user's own service manager is prefixed with
/// the manager's name, as in `user@1000.service/foo.service`: several users may have a unit of the same name.
pub(super) fn name(components: &[&str]) -> Option<(Precision, String)> {
    let (slice, below) = skip_slices(components);
    let Some(unit) = below.first().and_then(|component| unit(component)) else {
        return slice.map(|slice| (Precision::Slice, slice.to_owned()));
    };
    let inner = if is_user_manager(unit) { skip_slices(&below[1..]).1.first() } else { None };
    let name = match inner.and_then(|component| self::unit(component)) {
        Some(inner) => format!("{unit}/{inner}"),
        None => unit.to_owned(),
    };
    Some((Precision::Service, name))
}

/// Returns the innermost of the leading slices, and the components after them.
fn skip_slices<'a, 'b>(components: &'b [&'a str]) -> (Option<&'a str>, &'b [&'a str]) {
    let slices = components.iter().take_while(|name| name.ends_with(".slice") && unit(name).is_some()).count();
    let (slices, below) = components.split_at(slices);
    (slices.last().and_then(|name| unit(name)), below)
}

/// Returns the unit that a directory belongs to. systemd puts `_` before a name that could be one of the kernel's
/// files.
fn unit(component: &str) -> Option<&str> {
    let name = component.strip_prefix('_').unwrap_or(component);
    let stem = TYPES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    (!stem.is_empty() && name.len() <= MAX_BYTES && stem.bytes().all(is_valid)).then_some(name)
}

fn is_user_manager(unit: &str) -> bool {
    let user = unit.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
    user.is_some_and(|user| !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit()))
}
