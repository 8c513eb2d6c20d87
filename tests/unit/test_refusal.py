"""Messages that sites and yt-dlp really give, and the kind of failure that each one is."""

import pickle

import pytest

from avipipe.errors import TRANSIENT, FailKind
from avipipe.media.refusal import DownloadError, kind_of_message, kind_of_status, with_hint

_COOKIES = (
    ". Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/"
    "yt-dlp/yt-dlp/wiki/FAQ#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies"
)
_LOGIN = (
    ". Use --cookies, --cookies-from-browser, --username and --password, --netrc-cmd, or --netrc"
    " (vimeo) to provide account credentials"
)

MESSAGES = {
    FailKind.PRIVATE: [
        "[youtube] a: Private video. Sign in if you've been granted access to this video"
        + _COOKIES,
        "[youtube] a: Video unavailable. This video is private",
        "[youtube] a: Join this channel to get access to members-only content like this video, and "
        "other exclusive perks.",
        "[youtube] a: This video is available to this channel's members on level: Tier 2 (or any "
        "higher level). Join this channel to get access to members-only content and other "
        "exclusive perks.",
        "[youtube] a: This video is only available to Music Premium members",
        "[youtube] a: This video requires payment to watch",
        "[vimeo] 1: This video is only available for registered users" + _LOGIN,
        "[vimeo] 1: Wrong video password",
        "[vimeo] 1: This video is protected by a password, use the --video-password option",
        "[twitter] 1: You are not authorized to view this protected tweet" + _LOGIN,
        "[tiktok] 1: You need to log in to access this content" + _LOGIN,
        "[generic] a: Unable to download webpage: HTTP Error 403: Forbidden (caused by <HTTPError "
        "403: Forbidden>)",
    ],
    FailKind.REMOVED: [
        "[youtube] a: Video unavailable",
        "[youtube] a: This video is not available",
        "[youtube] a: This video isn't available anymore",
        "[youtube] a: Video unavailable. This video has been removed by the uploader",
        "[youtube] a: This video has been removed for violating YouTube's policy on hate speech. "
        "Learn more about combating hate speech in your country.",
        "[youtube] a: Video unavailable. This video is no longer available because the YouTube "
        "account associated with this video has been terminated.",
        "[vk] 1: Video 1 does not exist",
        "[vimeo] 1: This event video is unavailable",
        "[generic] a: Unable to download webpage: HTTP Error 404: Not Found (caused by <HTTPError "
        "404: Not Found>)",
        "[generic] a: Unable to download webpage: HTTP Error 410: Gone",
    ],
    FailKind.GEO_BLOCKED: [
        "[youtube] a: The uploader has not made this video available in your country\nThis video "
        "is available in Germany.\nYou might want to use a VPN or a proxy server (with --proxy) "
        "to workaround.",
        "[youtube] a: Video unavailable. This video contains content from SME, who has blocked it "
        "in your country on copyright grounds",
        "[bbc] a: This video is not available from your location due to geo restriction",
        "[soundcloud] a: Track unavailable in your country due to licensing restrictions",
    ],
    FailKind.AGE_RESTRICTED: [
        "[youtube] a: Sign in to confirm your age. This video may be inappropriate for some users."
        + _COOKIES,
        "[youtube] a: Sign in to confirm your age. The video you have requested has been rated "
        "TV-14 and may contain content intended for mature audiences." + _COOKIES,
        "[niconico] 1: Login is required to access age-restricted content" + _LOGIN,
    ],
    FailKind.RATE_LIMITED: [
        "[youtube] a: Sign in to confirm you’re not a bot" + _COOKIES,
        "[youtube] a: Sign in to confirm you're not a bot. This helps protect our community.",
        "[youtube] a: Video unavailable. This content isn’t available, try again later. The current"
        " session has been rate-limited by YouTube for up to an hour. It is recommended to use `-t "
        "sleep` to add a delay between video requests to avoid exceeding the rate limit.",
        "[youtube] a: All player responses are invalid. Your IP is likely being blocked by Youtube",
        "[generic] a: Unable to download webpage: HTTP Error 429: Too Many Requests",
        "unable to download video data: HTTP Error 403: Forbidden",
        "[bilibili] 1: You have exceeded the rate limit. Try again later",
    ],
    FailKind.UNREACHABLE: [
        "[youtube] a: Unable to download API page: <urllib3.connection.HTTPSConnection object at "
        "0x72dd0c0b2c10>: Failed to resolve 'www.youtube.com' ([Errno -3] Temporary failure in "
        "name resolution)",
        "[youtube] a: Unable to download API page: (<HTTPSConnection(host='www.youtube.com', port="
        "443) at 0x1f029f5d150>, 'Connection to www.youtube.com timed out. (connect timeout=20)')",
        "[generic] a: Unable to download webpage: [Errno 111] Connection refused",
        "[generic] a: Unable to download webpage: HTTP Error 503: Service Unavailable",
        "[download] Got error: 1048576 bytes read, 20971520 more expected. Giving up after 3 "
        "retries",
        "[generic] a: Unable to download webpage: [SSL: CERTIFICATE_VERIFY_FAILED] certificate "
        "verify failed: unable to get local issuer certificate (_ssl.c:1006)",
    ],
    FailKind.UNSUPPORTED_URL: [
        "[youtube] a: This live event will begin in 2 hours.",
        "[youtube] a: Premieres in 3 hours",
        "[youtube:tab] a: The channel is not currently live",
        "[twitter] 1: No video could be found in this tweet",
        "[udemy] 1: This video is DRM protected",
    ],
}


@pytest.mark.parametrize(
    ("kind", "message"), [(kind, text) for kind, texts in MESSAGES.items() for text in texts]
)
def test_kind_of_message(kind: FailKind, message: str) -> None:
    assert kind_of_message(f"ERROR: {message}") is kind


@pytest.mark.parametrize(
    "message",
    [
        "[youtube] a: Requested format is not available. Use --list-formats for a list of "
        "available formats",
        "Postprocessing: Conversion failed!",
        "[vimeo] 1: Unable to extract title; please report this issue on  https://github.com/"
        "yt-dlp/yt-dlp/issues?q= , filling out the appropriate issue template. Confirm you are on "
        "the latest version using  yt-dlp -U",
    ],
)
def test_a_broken_tool_is_not_taken_for_a_refusal(message: str) -> None:
    assert kind_of_message(message) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, FailKind.UNSUPPORTED_URL),
        (400, FailKind.UNSUPPORTED_URL),
        (401, FailKind.PRIVATE),
        (403, FailKind.PRIVATE),
        (404, FailKind.REMOVED),
        (410, FailKind.REMOVED),
        (429, FailKind.RATE_LIMITED),
        (451, FailKind.GEO_BLOCKED),
        (500, FailKind.UNREACHABLE),
        (503, FailKind.UNREACHABLE),
    ],
)
def test_kind_of_status(status: int, kind: FailKind) -> None:
    assert kind_of_status(status) is kind


def test_hint_says_what_to_do() -> None:
    assert with_hint(FailKind.PRIVATE, "u: HTTP 403.").startswith("u: HTTP 403; set stages.fetch.")
    assert with_hint(FailKind.REMOVED, "u: HTTP 404") == "u: HTTP 404"
    assert all(with_hint(kind, "x") != "x" for kind in TRANSIENT)


def test_error_survives_a_process_boundary() -> None:
    error = DownloadError(FailKind.REMOVED, "gone", log_tail="log", retry_after_s=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.kind, str(copy), copy.log_tail) == (
        DownloadError,
        FailKind.REMOVED,
        "gone",
        "log",
    )
