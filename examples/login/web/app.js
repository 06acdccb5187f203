"use strict";

// The token lives in a variable and goes when the page does. localStorage
// would keep it for every script that ever gets into this origin.
let token = "";
let user = "";
let expires = 0;
let signedOut = false;
let count = 0;

const element = (id) => document.getElementById(id);

// What should happen depends on the token alone.
function expectedFor(sent, needsAdmin) {
	if (!sent) return { status: 401, text: "missing", because: "the request has no token" };
	if (Date.now() >= expires) return { status: 401, text: "expired", because: "the token's time is up" };
	if (sent !== token) return { status: 401, text: "signature", because: "the signature no longer fits" };
	if (signedOut) return { status: 401, text: "revoked", because: "you signed out, and that token with you" };
	if (needsAdmin && user !== "ada") return { status: 403, text: "forbidden", because: user + " is no admin" };
	return { status: 200, text: "", because: "the token is valid" };
}

// ask sends one request and shows the answer beside what it should be.
async function ask(step, title, method, path, { sent = "", body, expected }) {
	const headers = {};
	if (sent) headers.Authorization = "Bearer " + sent;
	if (body) headers["Content-Type"] = "application/json";
	// Without the cookie, which would answer in place of the header.
	const options = { method, headers, credentials: "omit", cache: "no-store" };
	if (body) options.body = JSON.stringify(body);
	let response, text;
	try {
		response = await fetch(path, options);
		text = await response.text();
	} catch {
		element("status").textContent = "No answer: is the program still running?";
		return null;
	}
	show(step, title, method + " " + path, sent, response, text, expected);
	return response.ok && text ? JSON.parse(text) : null;
}

function show(step, title, request, sent, response, text, expected) {
	const good = response.status === expected.status && text.includes(expected.text);
	const item = document.createElement("li");
	item.id = "answer-" + ++count;
	item.dataset.step = step;
	item.classList.toggle("unexpected", !good);
	const heading = document.createElement("h3");
	heading.textContent = title;
	const rows = document.createElement("dl");
	const row = (name, value, tag = "code") => {
		const term = document.createElement("dt");
		term.textContent = name;
		const description = document.createElement("dd");
		description.append(Object.assign(document.createElement(tag), { textContent: value }));
		rows.append(term, description);
	};
	row("Request", request);
	row("Token", sent ? shorten(sent) : "none");
	row("Expected", expected.status + ", since " + expected.because, "span");
	row("Status", response.status + " " + response.statusText);
	const challenge = response.headers.get("WWW-Authenticate");
	if (challenge) row("Challenge", challenge);
	if (text) row("Body", readable(text), "pre");
	const verdict = document.createElement("span");
	verdict.className = "verdict";
	verdict.textContent = good ? "as expected" : "not as expected";
	heading.append(": ", verdict);
	item.append(heading, rows);
	element("answers").prepend(item);
	element("status").textContent = title + ": " + response.status + ", " + verdict.textContent + ".";
}

function readable(text) {
	const short = text.replace(/eyJ[\w.-]+/, shorten);
	try {
		return JSON.stringify(JSON.parse(short), null, 2);
	} catch {
		return short;
	}
}

// shorten leaves the beginnings of a token's three parts.
function shorten(token) {
	return token.split(".").map((part) => part.slice(0, 6) + "…").join(".");
}

// tamper changes the first character of the signature.
function tamper(token) {
	const at = token.lastIndexOf(".") + 1;
	return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}

element("login").addEventListener("submit", async (event) => {
	if (event.submitter?.id === "sign-in-cookie") return; // the browser's own way
	event.preventDefault();
	const username = element("username").value;
	const password = element("password").value;
	const known = { alice: "down-the-rabbit-hole", ada: "analytical-engine" };
	const expected = Object.hasOwn(known, username) && known[username] === password
		? { status: 200, text: "token", because: "name and password are right" }
		: { status: 401, text: "invalid_credentials", because: "name or password is wrong" };
	const answer = await ask("sign-in", "Sign in", "POST", "/login", { body: { username, password }, expected });
	if (!answer) return;
	token = answer.token;
	user = username;
	expires = Date.now() + answer.expires_in * 1000;
	signedOut = false;
	element("tamper").disabled = element("sign-out").disabled = false;
});

element("list").addEventListener("click", () => {
	ask("list", "Get the list", "GET", "/list", { sent: token, expected: expectedFor(token) });
});

element("admin").addEventListener("click", () => {
	ask("admin", "Ask as an admin", "GET", "/admin", { sent: token, expected: expectedFor(token, true) });
});

element("tamper").addEventListener("click", () => {
	const sent = tamper(token);
	ask("tamper", "Tamper with the token", "GET", "/list", { sent, expected: expectedFor(sent) });
});

element("sign-out").addEventListener("click", async () => {
	const expected = signedOut ? expectedFor(token) : { status: 204, text: "", because: "the token was valid until now" };
	await ask("sign-out", "Sign out", "POST", "/logout", { sent: token, expected });
	signedOut = true; // the old token stays in the variable, to show that it is of no use
});
