package main

// greeting has lines to paste into a shell once, because they break things. Those
// that call count print a series of /metrics and its expected value.
const greeting = `An API at URL with logs, metrics and traces. Paste this into a shell once:

count() { curl -s URL/metrics | sed -n "s/^$1 //p"; }
TOKEN=$(curl -s -X POST URL/token)
curl -s -w '%{http_code}, expected 200: who I am\n' -H "Authorization: Bearer $TOKEN" URL/me
curl -s -w '%{http_code}, expected 200: and again, from the cache\n' -H "Authorization: Bearer $TOKEN" URL/me
echo "$(count 'jwt_decisions_total{result="ok"}'), expected 2: admitted"
curl -s -w '%{http_code}, expected 401: expired\n' -H "Authorization: Bearer $(curl -s -X POST 'URL/token?lifetime=-1h')" URL/me
echo "$(count 'jwt_decisions_total{result="expired"}'), expected 1: refused as expired"
curl -s -w '%{http_code}, expected 402: a rule with another Reason\n' -H "Authorization: Bearer $TOKEN" URL/reports
echo "$(count 'jwt_decisions_total{result="other"}'), expected 1: which has no label"
curl -s -w '%{http_code}, expected 200: the revocation store breaks\n' -X POST URL/revocations/break
curl -s -w '%{http_code}, expected 200: admitted without a check\n' -H "Authorization: Bearer $TOKEN" URL/me
echo "$(count jwt_unchecked_total), expected 1: and not checked"
echo "$(count jwt_revocation_staleness_seconds), expected 60: the store's copy is old"
curl -s -w '%{http_code}, expected 200: the key server breaks\n' -X POST URL/keys/break
curl -s -w '%{http_code}, expected 503: a key that cannot be fetched\n' -H "Authorization: Bearer $(curl -s -X POST 'URL/token?kid=2')" URL/me
curl -s -w '%{http_code}, expected 200: known keys still verify\n' -H "Authorization: Bearer $TOKEN" URL/me
echo "$(count jwt_key_set_errors_total), expected 1: failed fetch of the key set"
echo "$(count 'jwt_decision_seconds_count{cached="true"}'), expected 4: signatures not verified again"

`
