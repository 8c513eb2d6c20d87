"""Files that are encoded in one go, and are odd by container, codec, rate or offset."""

from fractions import Fraction

from tests.containers.cases import Maker, avi, plain
from tests.containers.encode import AAC, FLAC, H264, HEVC, X265

NTSC = Fraction(30_000, 1001)
FILM = Fraction(24_000, 1001)
MP3 = ("-c:a", "libmp3lame", "-b:a", "128k")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3")
FLV1 = ("-c:v", "flv1", "-q:v", "3")
MJPEG = ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p")
VP8 = ("-c:v", "libvpx", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", "8")
VP9 = ("-c:v", "libvpx-vp9", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", "8")
AV1 = ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-svtav1-params", "lp=1")
OPUS = ("-c:a", "libopus", "-b:a", "96k")
VORBIS = ("-c:a", "libvorbis", "-b:a", "96k")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3")
PCM = ("-c:a", "pcm_s16le")
NO_B = ("-bf", "0")

# LAME's delay and the decoder's own, which only a player that reads its tag takes off.
MP3_DELAY = 576 + 529
AC3_DELAY = 256

AVI: dict[str, Maker] = {
    "AVI MPEG-4, MP3 44.1": avi([*MPEG4, *MP3], num_delay=MP3_DELAY),
    "AVI MPEG-4 with B, MP3 44.1": avi(
        [*MPEG4, "-bf", "2", *MP3], num_delay=MP3_DELAY, num_reordered=1
    ),
    "AVI MPEG-4 with B, GOP 250, PCM": avi(
        [*MPEG4, "-bf", "2", *PCM], gop=250, rate_hz=48_000, num_reordered=1
    ),
    "AVI H.264 with B, PCM": avi([*H264, "-bf", "3", *PCM], num_reordered=2),
    "AVI H.264, GOP 250, MP3": avi([*H264, *NO_B, *MP3], gop=250, num_delay=MP3_DELAY),
    "AVI MJPEG 1/25, PCM 22.05": avi([*MJPEG, *PCM], rate_hz=22_050),
    "AVI MJPEG 15 fps, MP3 22.05": avi([*MJPEG, *MP3], fps=15, rate_hz=22_050, num_delay=MP3_DELAY),
    "AVI FLV1 10 fps, PCM 8-bit 11.025": avi(
        [*FLV1, "-c:a", "pcm_u8"], fps=10, gop=10, rate_hz=11_025
    ),
    "AVI MPEG-4 29.97, ADPCM 11.025": avi([*MPEG4, "-c:a", "adpcm_ms"], fps=NTSC, rate_hz=11_025),
    "AVI MS-MPEG-4 v3 23.976, MP3 32": avi(
        ["-c:v", "msmpeg4", "-q:v", "3", *MP3], fps=FILM, rate_hz=32_000, num_delay=MP3_DELAY
    ),
    "AVI DV PAL": avi(["-c:v", "dvvideo", *PCM], size="720x576", rate_hz=48_000, channels=2, gop=1),
}
FLV: dict[str, Maker] = {
    "FLV FLV1, MP3 44.1": plain("flv", [*FLV1, *MP3]),
    "FLV H.264 with B, AAC": plain("flv", [*H264, *AAC]),
    "FLV H.264, GOP 250, AAC 22.05": plain("flv", [*H264, *AAC], gop=250, rate_hz=22_050),
    "FLV H.264, picture 0.52 s late": plain("flv", [*H264, *AAC], video_late_s=0.52),
    "FLV FLV1 15 fps, Nellymoser 11.025": plain(
        "flv", [*FLV1, "-c:a", "nellymoser"], fps=15, rate_hz=11_025, num_faded=128
    ),
}
COARSE: dict[str, Maker] = {
    "MP4 timescale 25": plain("mp4", [*H264, *AAC, "-video_track_timescale", "25"]),
    "MP4 timescale 15, 15 fps": plain(
        "mp4", [*H264, *AAC, "-video_track_timescale", "15"], fps=15, gop=15
    ),
    "MOV timescale 30000, 29.97 fps": plain(
        "mov", [*H264, *AAC, "-video_track_timescale", "30000"], fps=NTSC
    ),
    "MP4 timescale 10, 10 fps, AAC 32": plain(
        "mp4", [*H264, *AAC, "-video_track_timescale", "10"], fps=10, gop=20, rate_hz=32_000
    ),
}
SOUND: dict[str, Maker] = {
    **{
        f"MP4 H.264, AAC {rate_hz / 1000:g}": plain("mp4", [*H264, *AAC], rate_hz=rate_hz)
        for rate_hz in (48_000, 44_100, 32_000, 22_050, 11_025)
    },
    "MKV H.264, FLAC 44.1": plain("mkv", [*H264, *FLAC]),
    "MKV H.264, AAC 44.1": plain("mkv", [*H264, *AAC]),
    "WebM VP8, Opus": plain("webm", [*VP8, *OPUS], rate_hz=48_000),
    "MP4 AV1, Opus": plain("mp4", [*AV1, *OPUS], rate_hz=48_000),
    "OGV Theora, Vorbis 44.1": plain("ogv", ["-c:v", "libtheora", "-q:v", "10", *VORBIS]),
    "OGV Theora, Opus": plain("ogv", ["-c:v", "libtheora", "-q:v", "10", *OPUS], rate_hz=48_000),
    "MKV H.264, sound 0.4 s late": plain("mkv", [*H264, *AAC], audio_late_s=0.4),
    "MP4 H.264, sound 0.4 s late": plain("mp4", [*H264, *AAC], audio_late_s=0.4),
    "MP4 H.264, picture 0.6 s late": plain("mp4", [*H264, *AAC], video_late_s=0.6),
    "TS H.264, picture 0.6 s late": plain("ts", [*H264, *AAC], video_late_s=0.6),
}
RATES: dict[str, Maker] = {
    "MOV ProRes 23.976, PCM 24-bit": plain(
        "mov",
        ["-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-c:a", "pcm_s24le"],
        fps=FILM,
        rate_hz=48_000,
    ),
    "MP4 H.264 29.97": plain("mp4", [*H264, *AAC], fps=NTSC),
    "TS MPEG-2 50 fps, MP2": plain("ts", [*MPEG2, "-bf", "2", "-c:a", "mp2"], fps=50),
    "MP4 H.264 60 fps": plain("mp4", [*H264, *AAC], fps=60, gop=120),
    "WebM VP9 10 fps, Opus": plain("webm", [*VP9, *OPUS], fps=10, gop=20, rate_hz=48_000),
    "MP4 H.264 B-pyramid, GOP 250": plain(
        "mp4",
        [*H264, "-bf", "8", "-x264-params", "b-pyramid=normal:b-adapt=0:ref=5", *AAC],
        gop=250,
    ),
    "MKV HEVC B-pyramid, open GOP": plain(
        "mkv", [*HEVC, "-x265-params", f"{X265}:open-gop=1:bframes=8:b-adapt=0:keyint=50", *AAC]
    ),
    "MP4 H.264 negative composition offsets": plain(
        "mp4", [*H264, *AAC, "-movflags", "+negative_cts_offsets"]
    ),
    "MP4 H.264 fragmented": plain(
        "mp4", [*H264, *AAC, "-movflags", "+frag_keyframe+empty_moov+default_base_moof"]
    ),
    "PS MPEG-1 with B, MP2 44.1": plain(
        "mpg", ["-c:v", "mpeg1video", "-q:v", "3", "-bf", "2", "-c:a", "mp2"]
    ),
    "PS MPEG-2 interlaced, AC-3": plain(
        "vob",
        [*MPEG2, "-bf", "2", "-flags", "+ilme+ildct", "-field_order", "tt", "-c:a", "ac3"],
        rate_hz=48_000,
        picture_filter="setfield=tff",
    ),
    "MP4 H.264 interlaced": plain(
        "mp4",
        [*H264, "-flags", "+ilme+ildct", "-x264opts", "tff=1", *AAC],
        picture_filter="setfield=tff",
    ),
    "WMV WMV2, WMA 44.1": plain(
        "wmv", ["-c:v", "wmv2", "-q:v", "3", "-c:a", "wmav2"], num_lost=2048
    ),
    "MXF MPEG-2, PCM": plain("mxf", [*MPEG2, "-bf", "2", "-c:a", "pcm_s16le"], rate_hz=48_000),
    "RM RV20, AC-3": plain("rm", ["-c:v", "rv20", "-q:v", "3", "-c:a", "ac3"], num_delay=AC3_DELAY),
    "MKV FFV1, PCM 5.1": plain(
        "mkv", ["-c:v", "ffv1", "-c:a", "pcm_s16le"], gop=1, channels=6, rate_hz=48_000
    ),
}
PLAIN = AVI | FLV | COARSE | SOUND | RATES
