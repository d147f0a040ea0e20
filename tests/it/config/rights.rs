//! `groups_claim`, `groups_from`, `allow` and `ask`.

use insta::assert_snapshot;

use super::{Operator, REST};

const RIGHTS: &str = r#"public_url = "https://mcp.example.com"
[[identity]]
id = "corp"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
client_id = "portcullis"
groups_claim = "groups"
groups_from = [
    { claim = "realm_access.roles" },
    { claim = "/a~b", prefix = "role:" },
    { claim = "x", email_domain = true },
    { email_domain = true },
    { claim = "x", form = "tree" },
    { claim = "y", prefix = "role:" },
]
allow = [
    { groups = [] },
    { roles = ["admin"] },
    { },
    { groups = ["staff"], identity = "corp" },
    { groups = ["staff"], domains = ["example.com", "*.example.com", "exämple.com"] },
    { users = ["ada@example.com", "corp|u"] },
    { tenants = ["aaaabbbb-0000-cccc-1111-dddd2222eeee", "contoso.com"] },
]
ask = "a\nb"
[[identity]]
id = "entra"
kind = "entra"
tenant = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
client_id = "x"
groups_from = [{ claim = "roles", prefix = "role:" }, { email_domain = true, prefix = "domain:" }]
allow = [{ domains = ["example.com"] }, { groups = ["staff"] }]
[[upstream]]
id = "notes"
path = "/notes"
url = "http://127.0.0.1:8420/mcp"
scopes = ["notes:read"]
optional_scopes = ["notes:admin", "notes:all"]
implies = { "notes:all" = ["notes:admin"] }
allow = [{ groups = ["role:x"] }, { identity = "elsewhere", groups = ["x"] }, { identity = "corp" }]
[[upstream.scope]]
value = "notes:admin"
text = "all of it"
allow = [{ identity = "entra", domains = ["example.com"] }]
[[upstream.scope]]
value = "notes:other"
text = "nothing"
allow = []
"#;

#[test]
#[expect(clippy::too_many_lines, reason = "it is one snapshot")]
fn every_mistake_in_a_rule_or_a_source_of_groups_is_reported_with_its_line() {
    assert_snapshot!(Operator::new().problems(RIGHTS), @r#"
    portcullis.toml: error: secrets: keys: there is no root key
        hint: `portcullis keys generate --out portcullis.key` makes one: keys = [{ file = "portcullis.key" }]
    portcullis.toml: error: storage: url: is missing
        hint: write url = "sqlite:/var/lib/portcullis/portcullis.db", or "postgres://USER@HOST/DATABASE"
    portcullis.toml:7:16: error: identity "corp": groups_claim: is written besides groups_from, which lists all sources
        hint: remove it, and add { claim = "…" } with its value to groups_from
    portcullis.toml:9:15: error: identity "corp": groups_from[0].claim: is not a claim: Keycloak's is inside another one
        hint: write "/realm_access/roles" or "/resource_access/CLIENT/roles"
    portcullis.toml:10:15: error: identity "corp": groups_from[1].claim: is not a JSON pointer: "~" stands alone
        hint: write ~0 for ~, and ~1 for a slash in a name
    portcullis.toml:11:5: error: identity "corp": groups_from[2]: must have one of claim and email_domain
        hint: { claim = "groups" }, or { email_domain = true, prefix = "domain:" }
    portcullis.toml:11:5: warning: identity "corp": groups_from[2]: has the prefix of groups_from[0]: a name of either counts as a name of the other
        hint: give each a prefix, such as "role:", unless both list the same things
    portcullis.toml:12:5: warning: identity "corp": groups_from[3]: has the prefix of groups_from[0]: a name of either counts as a name of the other
        hint: give each a prefix, such as "role:", unless both list the same things
    portcullis.toml:12:22: error: identity "corp": groups_from[3].email_domain: needs a prefix: a group could have the name of a domain
        hint: add prefix = "domain:"
    portcullis.toml:13:27: error: identity "corp": groups_from[4].form: must be one of "list", "words", "keys"
    portcullis.toml:17:16: error: identity "corp": allow[0].groups: is empty: it would admit nobody
        hint: list values, or remove it
    portcullis.toml:18:15: error: identity "corp": allow[1].roles: is no list of its own: roles become groups
        hint: name their claim in groups_from of the identity, with prefix = "role:", and write groups = ["role:NAME"]
    portcullis.toml:19:5: error: identity "corp": allow[2]: admits everyone
        hint: name groups, domains, tenants or users
    portcullis.toml:20:38: error: identity "corp": allow[3].identity: has no effect: these rules are about the users of this provider
        hint: remove it
    portcullis.toml:21:53: error: identity "corp": allow[4].domains[1]: is not a domain
        hint: what follows the @ of an address, whole: "example.com" does not admit "eu.example.com"
    portcullis.toml:21:70: error: identity "corp": allow[4].domains[2]: is not in ASCII
        hint: write its ASCII form, which begins with xn-- in each part that has other letters
    portcullis.toml:22:16: error: identity "corp": allow[5].users[0]: is not the id of a user
        hint: the provider's own id, as in X-Forwarded-User behind the bar: `sub`, for Entra ID TENANT.OBJECT. Addresses change hands and name no user
    portcullis.toml:22:35: error: identity "corp": allow[5].users[1]: begins with the id of the provider
        hint: write what follows the bar alone
    portcullis.toml:23:17: error: identity "corp": allow[6].tenants: are known of users of Entra ID alone
        hint: write domains or groups
    portcullis.toml:23:58: error: identity "corp": allow[6].tenants[1]: is not the id of a tenant
        hint: the directory (tenant) id of its overview page, a GUID
    portcullis.toml:25:7: error: identity "corp": ask: must be 1 to 200 characters on one line
        hint: whom to ask for access, as users read it: "the platform team, platform@example.com"
    portcullis.toml:30:13: error: identity "entra": client_id: there is no credential: Entra ID demands one of a web application
        hint: add one of client_secret, client_certificate, federated_token_file, managed_identity
    portcullis.toml:31:72: error: identity "entra": groups_from[1].email_domain: proves nothing with Entra ID: a tenant writes any address into its tokens
        hint: tell its users apart by tenant, group or role
    portcullis.toml:32:22: error: identity "entra": allow[0].domains: proves nothing with Entra ID: a tenant writes any address into its tokens
        hint: write tenants = ["TENANT-ID"], or groups
    portcullis.toml:32:53: warning: identity "entra": allow[1].groups[0]: is no group that a user can have: it begins with no prefix of groups_from
        hint: write it with the prefix of its source
    portcullis.toml:39:27: error: upstream "notes": implies: gives everyone notes:admin, which [[upstream.scope]] allows to some users only
        hint: add [[upstream.scope]] with an allow of its own for the scope that implies it
    portcullis.toml:40:10: error: upstream "notes": allow[0]: does not say whose users it is about: groups of two providers may have one name
        hint: add identity = "…" to the rule, one of corp, entra
    portcullis.toml:40:48: error: upstream "notes": allow[1].identity: is not a provider whose users can call this server
        hint: one of corp, entra
    portcullis.toml:44:42: error: upstream "notes": scope[0].allow[0].domains: proves nothing with Entra ID: a tenant writes any address into its tokens
        hint: write tenants = ["TENANT-ID"], or groups
    portcullis.toml:45:1: error: upstream "notes": scope[1]: has a value that is not one of this upstream's scopes
        hint: add it to scopes or optional_scopes, or remove this entry
    portcullis.toml:48:9: error: upstream "notes": scope[1].allow: is empty: it would admit nobody
        hint: remove it to admit everyone, or list rules
    portcullis.toml: 28 errors, 3 warnings
    "#);
}

#[test]
fn a_rule_that_another_one_covers_and_a_second_door_without_rules_are_warnings() {
    let text = format!(
        "public_url = \"https://mcp.example.com\"{REST}\n[[issuer]]\nid = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"https://sso.example.com/realms/mcp\"\n\
         audiences = [\"https://mcp.example.com/mcp\"]\nallow = [{{ groups = [\"a\", \"b\"] }}, {{ groups = [\"b\"], domains = [\"example.com\"] }}]\n"
    );
    assert_snapshot!(Operator::new().check(&text).err, @r#"
    portcullis.toml:7:6: warning: identity "keycloak": id: limits who comes in by one of two ways: [[issuer]] and [[identity]] have the same users
        hint: write allow in both
    portcullis.toml:17:6: warning: issuer "keycloak": id: no upstream accepts tokens of this issuer
        hint: add this id to the accepts of an [[upstream]]
    portcullis.toml:21:35: warning: issuer "keycloak": allow[1]: has no effect: allow[0] admits all these users
        hint: a rule admits who meets all of its lists, and one rule is enough: remove it, or narrow the other
    portcullis.toml: 3 warnings
    "#);
}
