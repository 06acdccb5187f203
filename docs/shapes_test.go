package docs_test

import (
	"context"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed450a7203/jwthttp"
)

// Headers that several providers have.
func plain() object { return object{"alg": "RS256", "kid": keyID} }
func typed() object { return object{"alg": "RS256", "kid": keyID, "typ": "JWT"} }

// providers returns the sections of providers.md with tokens of each provider.
// Identifiers in the tokens are made up; names and types of the members are real.
func providers() []provider {
	list := []provider{auth0Tokens(), oktaTokens()}
	list = append(list, entraTokens()...)
	list = append(list, googleTokens(), firebaseTokens(), cognitoTokens(), keycloakTokens(), keycloakRealmTokens(), zitadelTokens(), hydraTokens(),
		dexTokens(), duendeTokens(), springTokens())
	list = append(list, supabaseTokens()...)
	list = append(list, clerkTokens(), shopifyTokens(), githubTokens(), gitlabTokens(), kubernetesTokens(), spiffeTokens(), cloudflareTokens(), iapTokens())
	return append(append(list, albTokens()...), appleTokens())
}

func auth0Tokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"iss": "https://example.eu.auth0.com/", "sub": "auth0|4f1b2c", "azp": "my_client_id",
		"aud":   []string{"https://api.example", "https://example.eu.auth0.com/userinfo"},
		"scope": "openid profile read:orders", "permissions": []string{"read:orders"},
	}}
	id := tokenShape{header: typed(), claims: object{
		"iss": "https://example.eu.auth0.com/", "sub": "auth0|4f1b2c", "aud": "my_client_id", "nonce": "n", "sid": "s", "email": "a@example.com", "email_verified": true,
	}}
	return provider{
		heading: "Auth0", block: "auth0", auth: auth0, good: good, scopes: []string{"openid", "profile", "read:orders"},
		more: []tokenShape{good.with(object{"typ": "at+jwt"}, object{"client_id": "my_client_id", "jti": "j"})}, // the RFC 9068 profile
		refused: []refusal{
			{"the ID token", id, "401 audience"},
			{"an issuer without the slash", good.with(nil, object{"iss": "https://example.eu.auth0.com"}), "401 issuer"},
			{"a logout token", id.with(object{"typ": "logout+jwt"}, object{"aud": "https://api.example"}), "401 type"},
		},
	}
}

func oktaTokens() provider {
	good := tokenShape{header: plain(), claims: object{
		"ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": "https://example.okta.com/oauth2/default", "aud": "api://default",
		"cid": "0oabucvyc38HLL1ef0h7", "uid": "00ub0oNGTSWTBKOLGLNR", "scp": []string{"openid", "orders"}, "auth_time": time.Duration(0), "sub": "joe@example.com",
	}}
	id := tokenShape{header: plain(), claims: object{
		"ver": 1, "jti": "ID.YWs", "iss": "https://example.okta.com/oauth2/default", "aud": "0oabucvyc38HLL1ef0h7", "sub": "00ub0oNGTSWTBKOLGLNR",
		"amr": []string{"pwd"}, "idp": "00o", "nonce": "n", "at_hash": "h",
	}}
	return provider{
		heading: "Okta", block: "okta", auth: okta, good: good, scopes: []string{"openid", "orders"},
		refused: []refusal{
			{"the ID token", id, "401 audience"},
			{"a token of the org authorization server", good.with(object{"typ": "application/okta-internal-at+jwt"},
				object{"iss": "https://example.okta.com", "aud": "https://example.okta.com"}), "401 issuer"},
		},
	}
}

func entraTokens() []provider {
	const host = "https://login.microsoftonline.com/"
	header := object{"alg": "RS256", "kid": keyID, "typ": "JWT", "x5t": keyID}
	claims := object{
		"iss": host + tenant + "/v2.0", "aud": "00001111-aaaa-2222-bbbb-3333cccc4444", "tid": tenant, "ver": "2.0",
		"azp": "11112222-bbbb-3333-cccc-4444dddd5555", "azpacr": "1", "aio": "a", "rh": "r", "uti": "u", "nbf": time.Duration(0),
		"oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb", "sub": "pairwise", "name": "Abe", "scp": "Orders.Read Orders.Write",
	}
	good := tokenShape{header: header, claims: claims}
	daemon := good.with(nil, object{"scp": nil, "name": nil, "roles": []string{"Orders.Read.All"}, "idtyp": "app"})
	groups := make([]string, 200)
	for i := range groups {
		groups[i] = "bbbbbbbb-1111-2222-3333-cccccccccccc"
	}
	id := good.with(nil, object{"aud": "11112222-bbbb-3333-cccc-4444dddd5555", "azp": nil, "azpacr": nil, "scp": nil, "nonce": "n", "preferred_username": "abe@example.com"})
	v1 := good.with(nil, object{"iss": "https://sts.windows.net/" + tenant + "/", "aud": "api://orders", "ver": "1.0", "azp": nil, "appid": "1111", "appidacr": "1"})
	graph := good.with(object{"nonce": "n"}, object{"aud": "00000003-0000-0000-c000-000000000000"})
	general := []refusal{
		{"the ID token", id, "401 audience"},
		{"a token of version 1.0", v1, "401 issuer"},
		{"a token for Microsoft Graph", graph, "401 audience"},
		{"a token of another tenant", good.with(nil, object{"iss": host + "other/v2.0", "tid": "other"}), "401 issuer"},
	}
	more := []tokenShape{daemon, good.with(nil, object{"groups": groups})}
	scopes := []string{"Orders.Read", "Orders.Write"}
	personalKey := good.with(object{"kid": "personal"}, nil)
	personalKey.key = keys.otherRSA
	return []provider{
		{heading: "Entra ID, one tenant", block: "entraID", auth: entraID, good: good, more: more, scopes: scopes, refused: general},
		{
			heading: "Entra ID, many tenants", block: "entraTenants", good: good, scopes: scopes,
			auth: func(ctx context.Context) (*jwthttp.Middleware, error) {
				return entraTenants(ctx, newStored(tenant, "bbbbcccc-1111-dddd-2222-eeee3333ffff").find)
			},
			more: append(more, good.with(nil, object{
				"iss": host + "bbbbcccc-1111-dddd-2222-eeee3333ffff/v2.0", "tid": "bbbbcccc-1111-dddd-2222-eeee3333ffff",
			})),
			refused: append(general,
				refusal{"tid of another tenant", good.with(nil, object{"tid": "bbbbcccc-1111-dddd-2222-eeee3333ffff"}), "401 unknown_key"},
				refusal{"a tenant that is not in the database", good.with(nil, object{"iss": host + personalTenant + "/v2.0", "tid": personalTenant}), "401 issuer"},
				refusal{"the tenant in capitals", good.with(nil, object{"iss": host + strings.ToUpper(tenant) + "/v2.0", "tid": strings.ToUpper(tenant)}), "401 issuer"},
				refusal{"the common issuer", good.with(nil, object{"iss": host + "common/v2.0"}), "401 issuer"},
				refusal{"no path", good.with(nil, object{"iss": host + tenant}), "401 issuer"},
				refusal{"no host", good.with(nil, object{"iss": tenant + "/v2.0"}), "401 issuer"},
				refusal{"no tenant", good.with(nil, object{"iss": host + "/v2.0"}), "401 issuer"},
				refusal{"another host", good.with(nil, object{"iss": "https://login.example/" + tenant + "/v2.0"}), "401 issuer"},
				refusal{"another path", good.with(nil, object{"iss": host + tenant + "/v2.0/"}), "401 issuer"},
				refusal{"no tid", good.with(nil, object{"tid": nil}), "401 unknown_key"},
				refusal{"the key of personal accounts", personalKey, "401 unknown_key"}),
		},
	}
}

func googleTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"iss": "https://accounts.google.com", "azp": "1234987819200.apps.googleusercontent.com", "aud": "1234987819200.apps.googleusercontent.com",
		"sub": "10769150350006150715113082367", "hd": "example.com", "email": "jsmith@example.com", "email_verified": true, "at_hash": "h", "nonce": "n",
	}}
	return provider{
		heading: "Google", block: "google", auth: google, good: good,
		refused: []refusal{
			{"the issuer without https://", good.with(nil, object{"iss": "accounts.google.com"}), "401 issuer"},
			{"another client of Google", good.with(nil, object{"aud": "999.apps.googleusercontent.com"}), "401 audience"},
		},
	}
}

func firebaseTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"iss": "https://securetoken.google.com/example-project", "aud": "example-project", "auth_time": time.Duration(0), "user_id": "u1", "sub": "u1",
		"firebase": object{"identities": object{"email": []string{"a@example.com"}}, "sign_in_provider": "password"},
	}}
	return provider{
		heading: "Firebase", block: "firebase", auth: firebase, good: good,
		refused: []refusal{
			{"another project", good.with(nil, object{"iss": "https://securetoken.google.com/other", "aud": "other"}), "401 issuer"},
			{"a session cookie", good.with(nil, object{"iss": "https://session.firebase.google.com/example-project"}), "401 issuer"},
			{"the emulator", tokenShape{header: object{"alg": "none", "typ": "JWT"}, claims: good.claims, key: jwt.UnsafeAllowNoneSignatureType}, "401 algorithm"},
		},
	}
}

func cognitoTokens() provider {
	const pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE"
	good := tokenShape{header: plain(), claims: object{
		"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": []string{"editors"}, "iss": pool, "version": 2, "client_id": "1h57kf5cpq17m0eml12EXAMPLE",
		"origin_jti": "o", "event_id": "e", "token_use": "access", "scope": "openid orders/read", "auth_time": time.Duration(0), "jti": "j", "username": "alice",
	}}
	id := tokenShape{header: plain(), claims: object{
		"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "iss": pool, "aud": "1h57kf5cpq17m0eml12EXAMPLE", "token_use": "id", "cognito:username": "alice", "email": "a@example.com",
	}}
	return provider{
		heading: "Amazon Cognito", block: "cognito", auth: cognito, good: good, scopes: []string{"openid", "orders/read"}, skip: []string{"another audience"},
		refused: []refusal{
			{"the ID token", id, "401 audience"},
			{"another app client", good.with(nil, object{"client_id": "other"}), "401 audience"},
			{"another pool", good.with(nil, object{"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_OTHER"}), "401 issuer"},
		},
	}
}

func keycloakTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"jti": "onrtac:1", "iss": "https://login.example/realms/shop", "aud": []string{"orders-api", "account"}, "sub": "f1", "typ": "Bearer", "azp": "web-client", "sid": "s1",
		"acr": "1", "allowed-origins": []string{"https://shop.example"}, "realm_access": object{"roles": []string{"editor"}},
		"resource_access": object{"account": object{"roles": []string{"view-profile"}}}, "scope": "openid email", "email_verified": true,
	}}
	id := good.with(nil, object{"typ": "ID", "aud": "web-client", "at_hash": "h", "nonce": "n", "realm_access": nil, "resource_access": nil, "scope": nil})
	encryption := good.with(object{"kid": "encryption"}, nil)
	encryption.key = keys.otherRSA
	refresh := good.with(object{"alg": "HS512"}, object{"typ": "Refresh", "aud": "https://login.example/realms/shop"})
	return provider{
		heading: "Keycloak", block: "keycloak", auth: keycloak, good: good, scopes: []string{"openid", "email"},
		more: []tokenShape{good.with(object{"typ": "at+jwt"}, nil), good.with(nil, object{"typ": "DPoP"})}, // switches of the client
		refused: []refusal{
			{"the ID token", id, "401 audience"},
			{"a token bound to a key, without its proof", good.with(nil, object{"typ": "DPoP", "cnf": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), "401 binding"},
			{"an ID token with the mapper's audience", id.with(nil, object{"aud": []string{"web-client", "orders-api"}}), "401 claims"},
			{"a token signed with the encryption key", encryption, "401 unknown_key"},
			{"the refresh token", refresh, "401 algorithm"},
			{"a logout token", id.with(nil, object{"typ": "Logout", "aud": "orders-api"}), "401 claims"},
			{"no audience mapper", good.with(nil, object{"aud": "account"}), "401 audience"},
			{"another realm", good.with(nil, object{"iss": "https://login.example/realms/master"}), "401 issuer"},
		},
	}
}

func keycloakRealmTokens() provider {
	one := keycloakTokens()
	other := one.good.with(nil, object{"iss": "https://login.example/realms/garden"})
	other.key = keys.otherRSA
	realm := func(iss string) tokenShape { return one.good.with(nil, object{"iss": iss}) }
	one.block, one.more = "keycloakRealms", append(one.more, other)
	one.auth = func(ctx context.Context) (*jwthttp.Middleware, error) {
		return keycloakRealms(ctx, newStored("shop", "garden").find)
	}
	one.refused = append(one.refused,
		refusal{"the key of another realm", realm("https://login.example/realms/garden"), "401 signature"},
		refusal{"a realm that is not in the list", realm("https://login.example/realms/unlisted"), "401 issuer"},
		refusal{"the realm in capitals", realm("https://login.example/realms/SHOP"), "401 issuer"},
		refusal{"the realm master", realm("https://login.example/realms/master"), "401 issuer"},
		refusal{"another server", realm("https://evil.example/realms/shop"), "401 issuer"},
		refusal{"the server as a part of a host", realm("https://login.example.evil.example/realms/shop"), "401 issuer"},
		refusal{"a path above the realms", realm("https://login.example/realms/../realms/shop"), "401 issuer"},
		refusal{"a slash at the end", realm("https://login.example/realms/shop/"), "401 issuer"},
		refusal{"the realm without a server", realm("shop"), "401 issuer"},
		refusal{"no realm", realm("https://login.example/realms/"), "401 issuer"})
	return one
}

func zitadelTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"iss": "https://example-a1b2c3.zitadel.cloud", "sub": "221", "aud": []string{"221394289413267458@shop", "221394289413267457"}, "jti": "j1",
		"azp": "221394289413267458@shop", "client_id": "221394289413267458@shop", "nbf": time.Duration(0),
		"urn:zitadel:iam:org:project:roles": object{"editor": object{"219": "shop.zitadel.cloud"}},
	}}
	return provider{
		heading: "Zitadel", block: "zitadel", auth: zitadel, good: good,
		refused: []refusal{
			{"the ID token", good.with(nil, object{"jti": nil, "at_hash": "h", "amr": []string{"pwd"}, "nonce": "n"}), "401 claims"},
			{"another project", good.with(nil, object{"aud": []string{"333@other", "333"}}), "401 audience"},
		},
	}
}

func hydraTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"iss": "https://hydra.example/", "sub": "u1", "aud": []string{}, "client_id": "web-client", "ext": object{}, "jti": "j", "nbf": time.Duration(0), "scp": []string{"openid", "orders"},
	}}
	id := tokenShape{header: object{"alg": "RS256", "typ": "JWT", "kid": "id-token"}, key: keys.otherRSA, claims: object{
		"iss": "https://hydra.example/", "sub": "u1", "aud": []string{"web-client"}, "at_hash": "h", "rat": time.Duration(0), "auth_time": time.Duration(0), "jti": "j", "sid": "s",
	}}
	return provider{
		heading: "Ory Hydra", block: "hydra", auth: hydra, good: good, scopes: []string{"openid", "orders"}, skip: []string{"another audience"},
		refused: []refusal{
			{"the ID token", id, "401 audience"},
			{"another client", good.with(nil, object{"client_id": "other"}), "401 audience"},
			{"an issuer without the slash", good.with(nil, object{"iss": "https://hydra.example"}), "401 issuer"},
		},
	}
}

func dexTokens() provider {
	good := tokenShape{header: plain(), claims: object{
		"iss": "https://login.example/dex", "sub": "CgNib2ISBWxvY2Fs", "aud": "web-client", "nonce": "n", "at_hash": "h", "email": "bob@example.com", "email_verified": true,
		"groups": []string{"editors"}, "name": "bob",
	}}
	return provider{
		heading: "dex", block: "dex", auth: dex, good: good,
		more: []tokenShape{good.with(nil, object{"at_hash": nil, "nonce": "random"})}, // the access token
		refused: []refusal{
			{"another client", good.with(nil, object{"aud": "other"}), "401 audience"},
		},
	}
}

func duendeTokens() provider {
	good := tokenShape{header: object{"alg": "RS256", "kid": keyID, "typ": "at+jwt"}, claims: object{
		"iss": "https://identity.example", "nbf": time.Duration(0), "aud": "orders", "scope": []string{"openid", "orders.read"}, "amr": []string{"pwd"},
		"client_id": "web", "sub": "1", "auth_time": time.Duration(0), "idp": "local", "sid": "S1", "jti": "J1",
	}}
	id := tokenShape{header: typed(), claims: object{"iss": "https://identity.example", "aud": "web", "sub": "1", "sid": "S1", "nonce": "n", "at_hash": "h"}}
	return provider{
		heading: "Duende IdentityServer", block: "duende", auth: duende, good: good, scopes: []string{"openid", "orders.read"},
		more: []tokenShape{
			good.with(nil, object{"role": "editor"}), good.with(nil, object{"role": []string{"editor", "admin"}}),
			good.with(nil, object{"scope": "openid orders.read"}), // EmitScopesAsSpaceDelimitedStringInJwt
		},
		refused: []refusal{
			{"the ID token", id, "401 type"},
			{"a logout token", id.with(object{"typ": "logout+jwt"}, object{"aud": "orders"}), "401 type"},
			{"a scope that is not text", good.with(nil, object{"scope": []any{"orders.read", 7}}), "401 malformed"},
			{"a role that is not text", good.with(nil, object{"role": 7}), "401 claims"},
		},
	}
}

func springTokens() provider {
	good := tokenShape{header: plain(), claims: object{
		"iss": "https://auth.example", "sub": "user1", "aud": "web-client", "nbf": time.Duration(0), "scope": []string{"openid", "orders.read"}, "jti": "j",
	}}
	id := tokenShape{header: plain(), claims: object{
		"iss": "https://auth.example", "sub": "user1", "aud": "web-client", "azp": "web-client", "auth_time": time.Duration(0), "sid": "s", "nonce": "n", "jti": "j",
	}}
	return provider{
		heading: "Spring Authorization Server", block: "spring", auth: spring, good: good, scopes: []string{"openid", "orders.read"},
		refused: []refusal{
			{"the ID token", id, "403 scope"},
			{"no scopes", good.with(nil, object{"scope": []string{}}), "403 scope"},
		},
	}
}

func supabaseTokens() []provider {
	claims := object{
		"iss": "https://abcdefghijklmnopqrst.supabase.co/auth/v1", "sub": "123e4567-e89b-12d3-a456-426614174000", "aud": "authenticated", "role": "authenticated", "aal": "aal1",
		"session_id": "s1", "email": "a@example.com", "phone": "", "is_anonymous": false, "app_metadata": object{"provider": "email"}, "user_metadata": object{},
		"amr": []object{{"method": "password", "timestamp": 1640991600}},
	}
	before := tokenShape{header: object{"alg": "HS256", "typ": "JWT"}, claims: claims}
	after := tokenShape{header: object{"alg": "ES256", "typ": "JWT", "kid": keyID}, claims: claims}
	apiKey := tokenShape{header: object{"alg": "HS256", "typ": "JWT"}, claims: object{"iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "anon", "exp": 10 * 365 * 24 * time.Hour}}
	guess := before
	guess.key = []byte("another secret of at least 32 bytes")
	confused := after.with(object{"alg": "HS256"}, nil)
	confused.key = []byte(publicPEM(keys.ec))
	return []provider{{
		heading: "Supabase", block: "supabase", good: after,
		auth: func(ctx context.Context) (*jwthttp.Middleware, error) { return supabase(ctx, keys.secret) },
		more: []tokenShape{before, before.with(object{"kid": "legacy"}, nil)},
		skip: []string{"the public key as a secret"},
		refused: []refusal{
			{"the anon key", apiKey, "401 issuer"},
			{"another audience", before.with(nil, object{"aud": "anon"}), "401 audience"},
			{"an old token that has expired", before.with(nil, object{"exp": -time.Hour}), "401 expired"},
			{"another secret", guess, "401 signature"},
			{"the public key as a secret", confused, "401 signature"},
		},
	}}
}

func clerkTokens() provider {
	good := tokenShape{header: object{"alg": "RS256", "kid": keyID, "typ": "JWT", "cat": "cl_B7d4PD111AAA"}, claims: object{
		"azp": "https://shop.example", "fva": []int{7, -1}, "iss": "https://clerk.shop.example", "nbf": -10 * time.Second, "sid": "sess_1", "sub": "user_1", "v": 2, "sts": "active",
		"o": object{"id": "org_1", "rol": "admin", "slg": "shop"}, "exp": time.Minute,
	}}
	return provider{
		heading: "Clerk", block: "clerk", auth: clerk, good: good, skip: []string{"another audience"},
		more: []tokenShape{good.with(nil, object{"v": nil, "sts": nil, "o": nil, "org_id": "org_1", "org_role": "org:admin"})}, // version 1
		refused: []refusal{
			{"another origin", good.with(nil, object{"azp": "https://other.example"}), "401 audience"},
			{"a pending session", good.with(nil, object{"sts": "pending"}), "401 claims"},
			{"a token of a JWT template", good.with(nil, object{"sid": nil}), "401 claims"},
		},
	}
}

func shopifyTokens() provider {
	const client, secret = "4bc1f7d1f9bd2ac85f6a0a5d0a1e3c1d", "shpss_0123456789abcdef0123456789abcdef"
	good := tokenShape{header: object{"alg": "HS256", "typ": "JWT"}, key: []byte(secret), claims: object{
		"iss": "https://flowers.myshopify.com/admin", "dest": "https://flowers.myshopify.com", "aud": client, "sub": "42", "exp": time.Minute, "nbf": time.Duration(0),
		"jti": "f8912129-1af6-4cad-9ca3-76b0f7621087", "sid": "aaea182f2732d44c23057c0fea584021a4485b2bd25d3eb7fd349313ad24c685", "sig": "f07cf3740270c17fb61c700b0f0f2e7f",
	}}
	shop := func(iss, dest any) tokenShape { return good.with(nil, object{"iss": iss, "dest": dest}) }
	confused := good
	confused.key = []byte(publicPEM(keys.rsa))
	return provider{
		heading: "Shopify", block: "shopify", good: good,
		auth: func(context.Context) (*jwthttp.Middleware, error) {
			return shopify(client, []byte(secret), newStored("flowers", "bicycles").find)
		},
		more: []tokenShape{
			shop("https://bicycles.myshopify.com/admin", "https://bicycles.myshopify.com"),
			good.with(nil, object{"nbf": 9 * time.Second, "iat": 9 * time.Second}), // a clock that is ahead
		},
		skip: []string{"the public key as a secret", "an unknown key"}, // there is no "kid"
		refused: []refusal{
			{"a public key as the secret", confused, "401 signature"},
			{"dest of another shop", shop("https://flowers.myshopify.com/admin", "https://bicycles.myshopify.com"), "401 claims"},
			{"dest of a longer name", shop("https://flowers.myshopify.com/admin", "https://flowers.myshopify.com.evil.example"), "401 claims"},
			{"dest without https", shop("https://flowers.myshopify.com/admin", "flowers.myshopify.com"), "401 claims"},
			{"no dest", shop("https://flowers.myshopify.com/admin", nil), "401 claims"},
			{"dest that is a list", shop("https://flowers.myshopify.com/admin", []string{"https://flowers.myshopify.com"}), "401 claims"},
			{"a shop that has not installed the app", shop("https://hats.myshopify.com/admin", "https://hats.myshopify.com"), "401 issuer"},
			{"the shop in capitals", shop("https://FLOWERS.myshopify.com/admin", "https://FLOWERS.myshopify.com"), "401 issuer"},
			{"iss without https", shop("flowers.myshopify.com/admin", "flowers.myshopify.com"), "401 issuer"},
			{"iss without the domain", shop("https://flowers", "https://flowers"), "401 issuer"},
			{"no shop", shop("https://.myshopify.com/admin", "https://.myshopify.com"), "401 issuer"},
			{"another domain", shop("https://flowers.evil.example/admin", "https://flowers.evil.example"), "401 issuer"},
			{"iss without /admin", shop("https://flowers.myshopify.com", "https://flowers.myshopify.com"), "401 issuer"},
			{"another app", good.with(nil, object{"aud": "another client ID"}), "401 audience"},
			{"a minute and the leeway later", good.with(nil, object{"exp": -10 * time.Second}), "401 expired"},
			{"a token of an extension", tokenShape{header: good.header, key: good.key, claims: object{
				"dest": "flowers.myshopify.com", "aud": client, "exp": 5 * time.Minute, "nbf": time.Duration(0), "jti": "j", "sub": "gid://shopify/Customer/42",
			}}, "401 issuer"},
		},
	}
}

func githubTokens() provider {
	good := tokenShape{header: object{"alg": "RS256", "kid": keyID, "typ": "JWT", "x5t": "4XvIbVPnuTI"}, claims: object{
		"jti": "j", "iss": "https://token.actions.githubusercontent.com", "sub": "repo:octo-org/octo-repo:ref:refs/heads/main", "aud": "https://api.example", "nbf": -10 * time.Second,
		"ref": "refs/heads/main", "ref_type": "branch", "repository": "octo-org/octo-repo", "repository_id": "74", "repository_owner": "octo-org", "repository_owner_id": "65",
		"event_name": "push", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main", "run_attempt": "2", "actor_id": "12",
	}}
	return provider{
		heading: "GitHub Actions", block: "github", auth: github, good: good,
		refused: []refusal{
			{"another repository", good.with(nil, object{"repository": "mallory/octo-repo", "repository_owner_id": "66"}), "401 claims"},
			{"another repository of the owner", good.with(nil, object{"repository": "octo-org/other"}), "401 claims"},
			{"a namesake of a deleted owner", good.with(nil, object{"repository_owner_id": "1000"}), "401 claims"},
			{"a pull request", good.with(nil, object{"ref": "refs/pull/1/merge"}), "401 claims"},
			{"the default audience", good.with(nil, object{"aud": "https://github.com/octo-org"}), "401 audience"},
		},
	}
}

func gitlabTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"namespace_id": "72", "namespace_path": "my-group", "project_id": "22", "project_path": "my-group/my-project", "user_id": "1", "pipeline_id": "574", "job_id": "302",
		"ref": "main", "ref_type": "branch", "ref_protected": "true", "environment": "production", "jti": "j", "iss": "https://gitlab.com", "nbf": -5 * time.Second,
		"sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "aud": "https://api.example",
	}}
	login := tokenShape{header: typed(), claims: object{"iss": "https://gitlab.com", "sub": "1", "aud": "client", "auth_time": time.Duration(0), "sub_legacy": "l"}}
	return provider{
		heading: "GitLab", block: "gitlab", auth: gitlab, good: good,
		refused: []refusal{
			{"the ID token of a login", login, "401 audience"},
			{"another project", good.with(nil, object{"project_id": "23"}), "401 claims"},
			{"a branch that is not protected", good.with(nil, object{"ref": "topic", "ref_protected": "false"}), "401 claims"},
		},
	}
}

func kubernetesTokens() provider {
	good := tokenShape{header: plain(), claims: object{
		"aud": []string{"https://api.example"}, "iss": "https://kubernetes.default.svc.cluster.local", "jti": "j", "nbf": time.Duration(0),
		"sub": "system:serviceaccount:shop:frontend",
		"kubernetes.io": object{
			"namespace": "shop", "node": object{"name": "n1", "uid": "u1"}, "pod": object{"name": "p1", "uid": "u2"}, "serviceaccount": object{"name": "frontend", "uid": "u3"},
		},
	}}
	legacy := tokenShape{header: plain(), claims: object{
		"iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "shop", "sub": "system:serviceaccount:shop:frontend", "exp": nil, "iat": nil,
	}}
	return provider{
		heading: "Kubernetes", block: "kubernetes", good: good,
		auth: func(ctx context.Context) (*jwthttp.Middleware, error) { return kubernetes(ctx, podClient()) },
		refused: []refusal{
			{"a token for the API server", good.with(nil, object{"aud": []string{"https://kubernetes.default.svc.cluster.local"}}), "401 audience"},
			{"a token of a Secret", legacy, "401 issuer"},
		},
	}
}

func spiffeTokens() provider {
	good := tokenShape{header: object{"alg": "ES256", "kid": keyID, "typ": "JWT"}, claims: object{
		"sub": "spiffe://example.org/frontend", "aud": []string{"spiffe://example.org/orders"},
	}}
	return provider{
		heading: "SPIFFE", block: "spiffe", auth: spiffe, good: good, skip: []string{"another issuer"},
		more: []tokenShape{good.with(object{"typ": "JOSE"}, nil), good.with(object{"typ": nil}, object{"iss": "https://spire.example"})},
		refused: []refusal{
			{"another trust domain", good.with(nil, object{"sub": "spiffe://example.org.evil/frontend"}), "401 claims"},
			{"another type", good.with(object{"typ": "at+jwt"}, nil), "401 type"},
			{"no exp", good.with(nil, object{"exp": nil}), "401 malformed"},
			{"an X.509 key", func() tokenShape { s := good.with(object{"kid": nil}, nil); s.key = keys.otherEC; return s }(), "401 signature"},
		},
	}
}

func cloudflareTokens() provider {
	good := tokenShape{header: typed(), claims: object{
		"aud": []string{"32eafc7626e974616deaf0dc3ce63d7bcbed58a2731e84d06bc3cdf1b53c4228"}, "email": "user@example.com", "nbf": time.Duration(0),
		"iss": "https://example.cloudflareaccess.com", "type": "app", "identity_nonce": "6ei69kawdKzMIAPF", "sub": "7335d417-61da-459d-899c-0a01c76a2f94", "country": "US",
	}}
	service := good.with(object{"typ": nil}, object{"aud": good.claims["aud"].([]string)[0], "sub": "", "email": nil, "identity_nonce": nil, "common_name": "e367826f93b8d71185e03fe518aff3b4.access"})
	return provider{
		heading: "Cloudflare Access", block: "cloudflare", auth: cloudflare, field: "Cf-Access-Jwt-Assertion", good: good, more: []tokenShape{service},
		refused: []refusal{
			{"another application", good.with(nil, object{"aud": []string{"f00d"}}), "401 audience"},
			{"another team", good.with(nil, object{"iss": "https://mallory.cloudflareaccess.com"}), "401 issuer"},
		},
	}
}

func iapTokens() provider {
	good := tokenShape{header: object{"alg": "ES256", "kid": keyID, "typ": "JWT"}, claims: object{
		"aud": "/projects/123456789012/global/backendServices/9876543210", "email": "jsmith@example.com", "hd": "example.com", "iss": "https://cloud.google.com/iap",
		"sub": "accounts.google.com:1234567890", "google": object{"access_levels": []string{}},
	}}
	return provider{
		heading: "Google Cloud IAP", block: "iap", auth: iap, field: "X-Goog-Iap-Jwt-Assertion", good: good,
		refused: []refusal{
			{"another backend service", good.with(nil, object{"aud": "/projects/123456789012/global/backendServices/1"}), "401 audience"},
			{"an ID token of Google", good.with(nil, object{"iss": "https://accounts.google.com"}), "401 issuer"},
		},
	}
}

func albTokens() []provider {
	const arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/orders/"
	good := tokenShape{padded: true, header: object{
		"typ": "JWT", "kid": albKeyID, "alg": "ES256", "iss": "https://login.example", "client": "web-client", "signer": arn + "50dc6c495c0c9188", "exp": 2 * time.Minute,
	}, claims: object{"sub": "1234567890", "name": "Alice Æbler", "email": "alice@example.com", "exp": nil, "iat": nil}}
	unpadded := good
	unpadded.padded = false
	access := cognitoTokens()
	return []provider{
		{
			heading: "AWS load balancers", block: "behindALB", field: "X-Amzn-Oidc-Accesstoken", good: access.good, scopes: access.scopes, skip: access.skip, refused: access.refused,
			auth: func(context.Context) (*jwthttp.Middleware, error) {
				issuer, err := cognitoIssuer()
				if err != nil {
					return nil, err
				}
				return behindALB(issuer)
			},
		},
		{
			heading: "AWS load balancers", block: "alb", field: "X-Amzn-Oidc-Data", good: good,
			auth: func(context.Context) (*jwthttp.Middleware, error) { return alb() },
			more: []tokenShape{unpadded, good.with(nil, object{"exp": 2 * time.Minute, "iss": "https://login.example"})},
			skip: []string{"another issuer", "another audience", "an unknown key", "no exp"},
			refused: []refusal{
				{"another load balancer", good.with(object{"signer": arn + "ffffffffffffffff"}, nil), "401 unknown_key"},
				{"no signer", good.with(object{"signer": nil}, nil), "401 unknown_key"},
				{"another identity provider", good.with(object{"iss": "https://other.example"}, nil), "401 unknown_key"},
				{"another client", good.with(object{"client": "other"}, nil), "401 unknown_key"},
				{"an expired header", good.with(object{"exp": -time.Second}, nil), "401 unknown_key"},
				{"no expiry", good.with(object{"exp": nil}, nil), "401 unknown_key"},
				{"a path as kid", good.with(object{"kid": "../../../../../../../../../../etc/hosts"}, nil), "401 unknown_key"},
				{"a made-up kid after a fetch", good.with(object{"kid": "00000000-1234-1234-1234-123456789012"}, nil), "503 keys_unavailable"},
			},
		},
	}
}

func appleTokens() provider {
	good := tokenShape{header: plain(), claims: object{
		"iss": "https://appleid.apple.com", "aud": "com.example.shop", "sub": "001999.b1b2.1234", "c_hash": "h", "email": "x@privaterelay.appleid.com", "email_verified": "true",
		"is_private_email": "true", "auth_time": time.Duration(0), "nonce_supported": true,
	}}
	notification := tokenShape{header: plain(), claims: object{
		"iss": "https://appleid.apple.com", "aud": "com.example.shop", "jti": "j", "events": `{"type":"consent-revoked","sub":"001999.b1b2.1234","event_time":1611765847700}`,
	}}
	return provider{
		heading: "Apple", block: "apple", auth: apple, good: good, more: []tokenShape{good.with(nil, object{"email_verified": true, "is_private_email": true})},
		refused: []refusal{
			{"another app", good.with(nil, object{"aud": "com.example.other"}), "401 audience"},
			{"a notification", notification, "401 claims"},
		},
	}
}
