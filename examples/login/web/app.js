"use strict";

// The token is kept in a variable and is gone when the page is closed.
// localStorage would show it to every script that ever runs in this origin.
let token = "";
let user = "";
let expires = 0;
let signedOut = false;
let count = 0;

const leeway = 30_000; // the default of jwthttp: a token is accepted that long after its exp

const element = (id) => document.getElementById(id);

// The expected answer depends on the token alone. The texts are values of the
// member "reason".
function expectedFor(sent, needsAdmin) {
	if (!sent) return { status: 401, text: "missing", because: "the request has no token" };
	if (Date.now() >= expires + leeway) return { status: 401, text: "expired", because: "the token has expired" };
	if (sent !== token) return { status: 401, text: "signature", because: "the signature was changed" };
	if (signedOut) return { status: 401, text: "revoked", because: "signing out has revoked the token" };
	if (needsAdmin && user !== "ada") return { status: 403, text: "forbidden", because: user + " is not an admin" };
	return { status: 200, text: "", because: "the token is valid" };
}

// ask sends one request and shows the answer with the expected one.
async function ask(step, title, method, path, { sent = "", body, expected }) {
	const headers = {};
	if (sent) headers.Authorization = "Bearer " + sent;
	if (body) headers["Content-Type"] = "application/json";
	// Without credentials, so that a cookie is not used if there is no header.
	const options = { method, headers, credentials: "omit", cache: "no-store" };
	if (body) options.body = JSON.stringify(body);
	let response, text;
	try {
		response = await fetch(path, options);
		text = await response.text();
	} catch {
		element("status").textContent = "No answer. Is the program still running?";
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
	item.className = good ? "answer" : "answer unexpected";
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
	row("Expected", expected.status + ", because " + expected.because, "span");
	row("Status", response.status + " " + response.statusText);
	const challenge = response.headers.get("WWW-Authenticate");
	if (challenge) row("Challenge", challenge);
	if (text) row("Body", readable(text), "pre");
	const verdict = document.createElement("span");
	verdict.className = good ? "good" : "bad";
	verdict.textContent = good ? "as expected" : "not as expected";
	heading.append(": ", verdict);
	item.append(heading, rows);
	element("answers").prepend(item);
	item.scrollIntoView({ block: "nearest" }); // on a phone it is below the buttons
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

// shorten keeps the beginning of each part of a token.
function shorten(token) {
	return token.split(".").map((part) => part.slice(0, 6) + "…").join(".");
}

// tamper changes the first character of the signature.
function tamper(token) {
	const at = token.lastIndexOf(".") + 1;
	return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}

element("login").addEventListener("submit", async (event) => {
	if (event.submitter?.id === "sign-in-cookie") return; // the browser sends the form
	event.preventDefault();
	const username = element("username").value;
	const password = element("password").value;
	const known = { alice: "down-the-rabbit-hole", ada: "analytical-engine" };
	const expected = Object.hasOwn(known, username) && known[username] === password
		? { status: 200, text: "token", because: "name and password are correct" }
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
	ask("admin", "Get the admin's page", "GET", "/admin", { sent: token, expected: expectedFor(token, true) });
});

element("tamper").addEventListener("click", () => {
	const sent = tamper(token);
	ask("tamper", "Send a changed token", "GET", "/list", { sent, expected: expectedFor(sent) });
});

element("sign-out").addEventListener("click", async () => {
	const expected = signedOut ? expectedFor(token) : { status: 204, text: "", because: "the token is still valid" };
	await ask("sign-out", "Sign out", "POST", "/logout", { sent: token, expected });
	signedOut = true; // the variable keeps the token, to show that it is no longer accepted
});
