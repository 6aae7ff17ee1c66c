# SPDX-License-Identifier: Apache-2.0
"""Every statement on the embedded identity service's tables.

`accounts` has domains, projects, users and groups, `roles` who may do what, `logins` what issuing and showing a token
asks for, `credentials` application credentials, `secrets` other credentials that users keep,
`catalog` others' services, `limits` unified limits, `revocations` which tokens are valid no more.

Whatever takes rights away is given `until`: the moment when every token issued so far has expired
(`revocations.until`).
"""
