"use strict";

const element = (id) => document.getElementById(id);
const form = (id) => new URLSearchParams(new FormData(element(id)));
let socket, events;

const hear = (list) => (message) => {
	const { from, text } = JSON.parse(message.data);
	element(list).prepend(Object.assign(document.createElement("li"), { textContent: from + ": " + text }));
};
const ended = (stream, text) => { element(stream + "-end").textContent = text; };

function openEvents() {
	events = new EventSource("/events"); // the cookie goes along
	events.onmessage = hear("events");
	// However a stream ends, EventSource asks again by itself after a while
	// ("retry"), for good, with the cookie of then. So the server says why it
	// ends one, and we close it unless the next server will have it. If nothing
	// was said, the browser's next attempt is judged as every request: an answer
	// that is not 200, be it a 204, our 401 or a passing 503, stops it (HTML
	// Standard §9.2). After "..._unavailable" a page may open a new one later.
	events.addEventListener("end", ({ data }) => {
		ended("events", "Ended: " + data);
		if (data !== "shutdown") events.close();
	});
	events.onerror = () => {
		if (events.readyState === EventSource.CLOSED) ended("events", "Refused: sign in again");
	};
}

async function openSocket() {
	const answer = await fetch("/ticket", { method: "POST" });
	if (!answer.ok) return ended("socket", "No ticket: sign in again");
	const { ticket } = await answer.json();
	const url = location.origin.replace("http", "ws") + "/socket";
	socket = new WebSocket(url, ["chat.v1", "bearer." + ticket]);
	socket.onmessage = hear("socket");
	// A WebSocket does not come back by itself. After 1001 or 1013 a page may
	// try again after a random while, with a new ticket; after 1008 it is the
	// user's turn.
	socket.onclose = ({ code, reason }) => ended("socket", "Ended: " + code + " " + reason);
}

function signedIn(is, status) {
	for (const button of document.querySelectorAll("#logout, #everywhere, #chat button")) button.disabled = !is;
	element("login").querySelector("button").disabled = is;
	element("status").textContent = status;
}

element("login").addEventListener("submit", async (event) => {
	event.preventDefault();
	const answer = await fetch("/login", { method: "POST", body: form("login") });
	if (!answer.ok) return signedIn(false, "Wrong name or password.");
	signedIn(true, "Signed in as " + form("login").get("username") + ".");
	for (const stream of ["socket", "events"]) {
		ended(stream, "");
		element(stream).replaceChildren(); // of the last time: what is sent before the socket is open is lost
	}
	openEvents();
	await openSocket();
});

element("chat").addEventListener("submit", (event) => {
	event.preventDefault();
	socket.send(form("chat").get("text"));
	event.target.reset();
});

for (const [id, path] of [["logout", "/logout"], ["everywhere", "/logout/everywhere"]]) {
	element(id).addEventListener("click", async () => {
		const answer = await fetch(path, { method: "POST" });
		// The streams stay open: the server is to end them.
		signedIn(false, answer.ok ? "Signed out." : "Not signed in any more.");
	});
}
