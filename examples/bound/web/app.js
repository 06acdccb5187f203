"use strict";

const $ = (id) => document.getElementById(id);
const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const encode = (text) => new TextEncoder().encode(text);
// false: no script can export the private key, not even this one.
const newKey = () => crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const resource = location.origin + "/resource";

let key, token, nonce;

async function proof(key, method, url, token, nonce) {
	const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", key.publicKey);
	const claims = { jti: crypto.randomUUID(), htm: method, htu: url, iat: Math.floor(Date.now() / 1000), nonce };
	if (token) claims.ath = base64url(await crypto.subtle.digest("SHA-256", encode(token)));
	const head = { typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } };
	const input = [head, claims].map((part) => base64url(encode(JSON.stringify(part)))).join(".");
	return input + "." + base64url(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.privateKey, encode(input)));
}

// send calls the resource and shows the answer.
async function send(what, scheme, proof) {
	const headers = { Authorization: scheme + " " + token };
	if (proof) headers.DPoP = proof;
	const answer = await fetch(resource, { headers });
	nonce = answer.headers.get("DPoP-Nonce") ?? nonce;
	const reason = answer.headers.get("Example-Reason");
	const line = document.createElement("li");
	line.textContent = `${what}: ${answer.status}` + (answer.ok ? `, hello ${(await answer.json()).hello}` : `, reason ${reason}`);
	$("log").append(line);
	return reason;
}

// call sends a new proof, and another one if the resource asks for a nonce. It
// returns the last one.
async function call(what, by = key) {
	let sent = await proof(by, "GET", resource, token, nonce);
	if (await send(what, "DPoP", sent) === "nonce") {
		sent = await proof(by, "GET", resource, token, nonce);
		await send(what + ", again with the nonce", "DPoP", sent);
	}
	return sent;
}

const actions = {
	call: () => call("Call"),
	forget: () => { nonce = undefined; return call("Without a nonce"); },
	replay: async () => send("Second use of the proof", "DPoP", await call("First use of a proof")),
	thief: async () => call("Stolen, with another key", await newKey()),
	bearer: () => send("Stolen, as Bearer", "Bearer"),
};

for (const [id, action] of Object.entries(actions)) {
	$(id).addEventListener("click", () => action().catch((error) => { $("status").textContent = String(error); }));
}

$("login").addEventListener("submit", async (event) => {
	event.preventDefault();
	try {
		key ??= await newKey();
		const url = location.origin + "/token";
		const answer = await fetch(url, {
			method: "POST", headers: { DPoP: await proof(key, "POST", url) }, body: new URLSearchParams(new FormData($("login"))),
		});
		const body = await answer.json();
		if (!answer.ok) {
			$("status").textContent = body.error === "invalid_grant" ? "Wrong name or password." : body.error;
			return;
		}
		token = body.access_token;
		$("status").textContent = "Signed in as " + $("username").value + ".";
		$("login").hidden = true;
		$("actions").hidden = false;
	} catch (error) {
		$("status").textContent = String(error);
	}
});
