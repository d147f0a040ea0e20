//! The user who runs a command, for the audit log.

use std::fs;

use super::shown::escaped;

/// The user of the operating system: name, uid, and the caller of `sudo` if there is one. Only the uid is authoritative:
/// `SUDO_USER` comes from the environment.
pub(super) fn name(environment: &[(String, String)]) -> String {
    let uid = rustix::process::getuid().as_raw();
    let name = fs::read_to_string("/etc/passwd").ok().and_then(|users| user_of(&users, uid));
    let name = name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"));
    let sudo = environment.iter().find(|(key, text)| key == "SUDO_USER" && !text.is_empty());
    match sudo.filter(|_| uid == 0) {
        Some((_, caller)) => format!("{name}, sudo by {}", escaped(caller)),
        None => name,
    }
}

/// The name of a user in the format of `/etc/passwd`.
fn user_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid)).then(|| escaped(name))
    })
}

#[cfg(test)]
mod tests {
    use super::user_of;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000:A:/home/alice:/bin/sh\n";
        assert_eq!(user_of(users, 0).as_deref(), Some("root"));
        assert_eq!(user_of(users, 1000).as_deref(), Some("alice"));
        assert_eq!(user_of(users, 7), None);
    }
}
