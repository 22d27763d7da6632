// The token in the page holds for ten minutes: when the chat needs another one, it asks for it.
addEventListener("load", () => {
  const chat = document.querySelector("sartor-chat[data-token]");
  if (chat) chat.refreshToken = async () => {
    const answer = await fetch("/chat-token");
    return answer.ok ? (await answer.json()).token : "";
  };
});
