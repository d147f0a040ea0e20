//! The place of a claim, as an operator writes it.

use super::problem::Mistake;

/// The most steps of a pointer to a claim.
const DEEPEST: usize = 8;

/// Checks the name of a claim, or a JSON pointer to one (RFC 6901).
pub(super) fn check_claim(claim: &str) -> Result<(), Mistake> {
    const HINT: &str = "a name, or a JSON pointer such as \"/realm_access/roles\"";
    if claim.starts_with("realm_access.") || claim.starts_with("resource_access.") {
        return Err(Mistake::new("is not a claim: Keycloak's is inside another one")
            .hint("write \"/realm_access/roles\" or \"/resource_access/CLIENT/roles\""));
    }
    if claim.is_empty() || claim.len() > 255 || claim == "/" || claim.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Mistake::new("is not a claim").hint(HINT));
    }
    let Some(pointer) = claim.strip_prefix('/') else { return Ok(()) };
    let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escaped {
        return Err(Mistake::new("is not a JSON pointer: \"~\" stands alone")
            .hint("write ~0 for ~, and ~1 for a slash in a name"));
    }
    if pointer.split('/').count() > DEEPEST {
        return Err(Mistake::new(format!("is not a JSON pointer of at most {DEEPEST} steps")).hint(HINT));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_claim;

    #[test]
    fn a_claim_is_a_name_or_a_json_pointer() {
        let deepest = "/a".repeat(8);
        for good in
            ["groups", "cognito:groups", "https://example.com/roles", "/realm_access/roles", "/a~1b/c~0d", &deepest]
        {
            assert!(check_claim(good).is_ok(), "{good}");
        }
        let too_deep = "/a".repeat(9);
        for bad in ["", "/", "/a~b", "/a~", "/a~2", "a\nb", "realm_access.roles", "resource_access.x.roles", &too_deep]
        {
            assert!(check_claim(bad).is_err(), "{bad}");
        }
    }
}
