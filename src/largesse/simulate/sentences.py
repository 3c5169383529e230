"""What the audience says, and how its creators answer: short, harmless, in several scripts."""

# ruff: noqa: RUF001  People write in their own scripts.

GREETINGS = {
    "en": (
        "Hello everyone!",
        "Hi from the night shift",
        "Good evening 👋",
        "Made it in time!",
        "Hey!",
    ),
    "es": ("¡Hola a todos!", "¡Buenas noches desde casa!", "Hola, ya llegué"),
    "pt": ("Oi, gente!", "Boa noite, pessoal", "Cheguei agora 😊"),
    "de": ("Hallo zusammen!", "Guten Abend 👋", "Bin gerade erst da"),
    "fr": ("Bonsoir tout le monde !", "Coucou 👋", "Salut, j'arrive juste"),
    "it": ("Ciao a tutti!", "Buonasera 👋"),
    "tr": ("Herkese merhaba!", "İyi akşamlar 👋"),
    "uk": ("Всім привіт!", "Добрий вечір 👋"),
    "ar": ("مرحبا بالجميع!", "مساء الخير 👋"),
    "hi": ("सबको नमस्ते!", "शुभ संध्या 👋"),
    "ja": ("こんばんは！", "はじめまして👋"),
    "ko": ("안녕하세요!", "다들 반가워요 👋"),
    "zh": ("大家好！", "晚上好 👋"),
}
"""What somebody says who has just come in, by language."""

LINES = {
    "en": (
        "This is so calming",
        "How long have you been doing this?",
        "I could watch this all evening",
        "That was lovely!",
        "Wait, how did you do that?",
        "Please do that once more",
        "Best part of my day",
        "My cat is watching too",
        "Listening while I cook",
        "Haha, brilliant",
        "Can you show that from closer?",
        "You make it look easy",
        "I tried this last week and failed completely",
        "Good choice!",
        "The light is beautiful tonight",
        "Who else has tea right now?",
        "First time here, I like it",
        "Greetings from a rainy train",
        "What comes next?",
        "Slow down, I am taking notes",
        "Wow",
        "Never get tired of this",
        "That is going to be great",
        "Same time tomorrow?",
        "Take your time, no hurry",
        "I learned something today",
        "The sound is perfect",
        "Back again, did I miss anything?",
        "Love this room",
        "Everybody here is so kind",
        "That colour!",
        "Let's go!",
        "I vote for the second one",
        "Almost there",
        "Well done, really",
    ),
    "es": (
        "Qué bonito te queda",
        "¿Desde cuándo haces esto?",
        "Otra vez, por favor",
        "Me encanta este directo",
        "Saludos desde la costa",
        "¡Genial!",
        "¿Y ahora qué sigue?",
    ),
    "pt": (
        "Que coisa linda",
        "Faz de novo, por favor",
        "Adoro essa calma",
        "Mandou muito bem!",
        "Aprendi bastante hoje",
        "Abraços de longe",
    ),
    "de": (
        "Das sieht richtig gut aus",
        "Wie lange übst du das schon?",
        "Noch einmal, bitte!",
        "So gemütlich hier",
        "Großartig!",
        "Ich höre beim Bügeln zu",
    ),
    "fr": (
        "C'est magnifique",
        "Encore une fois, s'il te plaît !",
        "Quelle patience",
        "J'adore l'ambiance",
        "Bravo !",
        "On est bien ici",
    ),
    "it": ("Che meraviglia", "Ancora una volta!", "Fantastico!", "Si sta bene qui", "Complimenti"),
    "tr": ("Çok güzel olmuş", "Bir daha lütfen!", "Eline sağlık", "Burası çok huzurlu", "Harika!"),
    "uk": ("Як гарно!", "Ще раз, будь ласка", "Дуже затишно тут", "Чудово!", "Дякую за вечір"),
    "ar": ("ما أجمل هذا!", "مرة أخرى من فضلك", "أحسنت!", "جو هادئ وجميل", "تحياتي لكم"),
    "hi": ("बहुत सुंदर!", "एक बार और, प्लीज़", "क्या बात है!", "यहाँ बहुत सुकून है", "वाह!"),
    "ja": ("すごい！", "もう一回お願いします", "癒される〜", "上手ですね", "きれい✨", "なるほど"),
    "ko": (
        "정말 멋져요!",
        "한 번 더 보여 주세요",
        "힐링된다 ㅎㅎ",
        "최고예요",
        "오늘도 잘 보고 있어요",
    ),
    "zh": ("太好看了", "再来一次吧", "好厉害！", "这里好温馨", "学到了，谢谢"),
}
"""What somebody says while he watches, by language."""

EMOJI = (
    "👏👏👏",
    "😂",
    "🔥🔥",
    "❤️",
    "😍",
    "✨✨",
    "🙌",
    "🥹",
    "🎉🎉🎉",
    "👍🏽",
    "😮",
    "🌹",
    "💙💛",
    "🫶",
    "🍵",
)
"""What everybody understands."""

LANGUAGES = {
    "en": 46,
    "es": 10,
    "pt": 7,
    "de": 7,
    "fr": 6,
    "it": 3,
    "tr": 3,
    "uk": 3,
    "ar": 4,
    "hi": 4,
    "ja": 3,
    "ko": 2,
    "zh": 2,
}
"""What the audience speaks, with weights."""

THANKS = (
    "Thank you so much, {name}!",
    "{name}, you are very kind 💛",
    "Oh! Thank you, {name}",
    "{name} with a gift, thank you!",
    "That made my evening, {name}",
    "Big thanks to {name} 🙏",
    "¡Gracias, {name}!",
    "ありがとう、{name}！",
)
"""What a creator says to somebody who has just sent a gift."""

REPLIES = (
    "Good to see you, {name}",
    "{name}, I was just thinking the same",
    "Good question, {name}, one moment",
    "Haha, {name}!",
    "I will come to that, {name}",
    "{name}, exactly",
    "Thank you for the kind words, {name}",
    "Welcome, {name}!",
)
"""What a creator says to somebody who has just written."""

REMARKS = (
    "So, where were we?",
    "Let me try this another way",
    "Is the sound all right for everybody?",
    "Tell me where you are watching from",
    "A sip of tea, then we go on",
    "This is the difficult part, wish me luck",
    "Any wishes for what comes next?",
    "I am so glad that you are here",
)
"""What a creator says by himself."""
